"""Optimizers: what each holds of every parameter tensor between steps.

Mixed-precision recipes add their own fp32 copy of the weights and keep moments in fp32; PyTorch's
optimizers by themselves keep moments in the format of the parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

from costsim.algebra import Number, exact_div
from costsim.architectures.block import Block
from costsim.errors import UnknownNameError, suggestion

STEP_BYTES = 4
"""A step count is an fp32 scalar, of each parameter tensor (torch.optim)."""


ORTHOGONALIZING_STEPS = 5
"""Newton-Schulz iterations of Muon (Jordan et al. 2024; torch.optim.Muon)."""
UPDATE_PASSES = {"sgd": 3, "sgd_momentum": 8, "adam": 18, "adamw": 20}
"""Values that the operations of torch.optim read and write of each parameter, one after another.

SGD reads weight and gradient and writes the weight. Adam's moments: lerp 3, mul 2, addcmul 3; its
denominator: sqrt 2, div 2, add 2; the update: addcdiv 4. AdamW scales the weights before: 2.
"""
UPDATE_KERNELS = {"sgd": 1, "sgd_momentum": 3, "adam": 8, "adamw": 9}
"""Those operations, and the one that counts a tensor's steps."""
_LEAST_BLOCKWISE = 4096
"""Elements of the smallest tensor whose states bitsandbytes and torchao pack."""


@dataclass(frozen=True, slots=True)
class Optimizer:
    """`moments` are tensors of the parameter's own shape, in the moments' format.

    Attributes:
        factored: keeps in their place, of tensors with two dimensions or more, one mean over the
            last dimension and one over the last but one.
        counts_steps: keeps a step count of each tensor.
        bits: of a moment that is kept in blocks, 0 where it has the moments' format.
        block: values of such a moment that share one fp32 scale.
        orthogonalizes: has one moment of matrices inside layers, whose update it makes
            orthogonal; embeddings, heads and vectors are Adam's.
        passes: how often it goes over fp32 values of the size of the parameters besides the
            gradients, states and weights that every optimizer reads and writes.
        working_bytes: that its update holds for each element of the largest tensor.
    """

    name: str
    moments: int
    factored: bool = False
    counts_steps: bool = False
    bits: int = 0
    block: int = 256
    orthogonalizes: bool = False
    passes: int = 0
    working_bytes: float = 0.0

    def state_elements(self, shape: tuple[Number, ...], *, inner: bool = True) -> Number:
        """Return how many values it keeps of a parameter tensor of `shape`, the count aside.

        `inner` says whether the tensor stands inside a layer, as a factor of products.
        """
        elements = prod(shape)
        if self.orthogonalizes and (len(shape) < 2 or not inner):
            return 2 * elements
        if not self.factored or len(shape) < 2:
            return self.moments * elements
        rows, columns = shape[-2:]
        return self.moments * (exact_div(elements, columns) + exact_div(elements, rows))

    def state_bytes(
        self, shape: tuple[Number, ...], moment_bytes: Number, *, inner: bool = True
    ) -> Number:
        """Return bytes of the states of a tensor whose moments would take `moment_bytes` each."""
        elements = self.state_elements(shape, inner=inner)
        if not self.bits:
            return moment_bytes * elements
        size = int(prod(shape))
        if size < _LEAST_BLOCKWISE:
            return 4 * elements
        return exact_div(self.bits * elements, 8) + self.moments * 4 * -(-size // self.block)


OPTIMIZERS = {
    optimizer.name: optimizer
    for optimizer in (
        # Kingma and Ba 2014 (arXiv 1412.6980): first and second moment.
        Optimizer("adam", 2, counts_steps=True),
        Optimizer("adamw", 2, counts_steps=True),
        Optimizer("sgd", 0),
        Optimizer("sgd_momentum", 1),
        # Shazeer and Stern 2018 (arXiv 1804.04235), without first moment as torch has it.
        # Its update is formed and scaled by its own mean square, and by that of the weights.
        # That of transformers (optimization.py) holds four fp32 tensors of a parameter's shape.
        Optimizer(
            "adafactor", 1, factored=True, counts_steps=True, passes=3, working_bytes=4 * STEP_BYTES
        ),
        # Dettmers et al. 2021 (arXiv 2110.02861), §2; the block of bitsandbytes since 0.44.
        Optimizer("adam_8bit", 2, bits=8),
        # torchao.optim.AdamW4bit (Li et al. 2023, arXiv 2309.01507): blocks of 128.
        Optimizer("adam_4bit", 2, bits=4, block=128),
        # Jordan et al. 2024; Liu et al. 2025 (arXiv 2502.16982): momentum in, update out, in bf16.
        Optimizer("muon", 1, orthogonalizes=True, passes=2),
    )
}


def optimizer(name: str) -> Optimizer:
    """Return the optimizer called `name`.

    Raises:
        UnknownNameError: where there is none of that name.
    """
    if name not in OPTIMIZERS:
        raise UnknownNameError(f"unknown optimizer `{name}`", hint=suggestion(name, OPTIMIZERS))
    return OPTIMIZERS[name]


def optimizer_bytes(
    name: str, blocks: Iterable[Block], *, moment_bytes: Number = 4, master_bytes: Number = 0
) -> Number:
    """Return all bytes that an optimizer holds for the parameters of `blocks`.

    Args:
        name: of the optimizer.
        blocks: those of one device, or of the whole model; tied weights count once.
        moment_bytes: of one value of a moment.
        master_bytes: of one value of the optimizer's own copy of the weights; 0 without one.
    """
    kind = optimizer(name)
    step_bytes = STEP_BYTES if kind.counts_steps else 0
    total: Number = 0
    for block in blocks:
        for weight in block.weights():
            held = master_bytes * weight.stored_elements
            inner = block.part == "layer" and not weight.lookup
            for shape in weight.tensors:
                held += kind.state_bytes(shape, moment_bytes, inner=inner) + step_bytes
            total += block.count * held
    return total


def state_bytes_per_parameter(name: str, moment_bytes: Number = 4) -> Number:
    """Return bytes of moments for each parameter: what `optimizer_bytes` tends to in large models.

    Step counts and the factors of matrices, whose share falls as a matrix grows, are left out.
    """
    kind = optimizer(name)
    if kind.bits:
        return kind.moments * (kind.bits / 8 + 4 / kind.block)
    return 0 if kind.factored else moment_bytes * kind.moments


def orthogonalizing_flops(blocks: Sequence[Block]) -> list[float]:
    """Return FLOPs that Muon's update of one layer of each of `blocks` takes, 0 outside layers.

    An iteration forms X·Xᵀ, its square, and their product with X, of which the short side is s
    and the long one l: 4·s²·l + 2·s³.
    """
    found: list[float] = []
    for block in blocks:
        flops = 0.0
        for weight in block.weights() if block.part == "layer" else ():
            for shape in () if weight.lookup else weight.tensors:
                if len(shape) >= 2:
                    short, long = sorted(float(size) for size in shape[-2:])
                    stacked = float(prod(shape)) / (short * long)
                    flops += stacked * (4 * short**2 * long + 2 * short**3)
        found.append(ORTHOGONALIZING_STEPS * flops)
    return found
