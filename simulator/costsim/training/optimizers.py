"""Optimizers: what each holds of every parameter tensor between steps.

Mixed-precision recipes add their own fp32 copy of the weights and keep moments in fp32; PyTorch's
optimizers by themselves keep moments in the format of the parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from costsim.algebra import Number, exact_div
from costsim.architectures.block import Block
from costsim.errors import UnknownNameError, suggestion

STEP_BYTES = 4
"""A step count is an fp32 scalar, of each parameter tensor (torch.optim)."""


@dataclass(frozen=True, slots=True)
class Optimizer:
    """`moments` are tensors of the parameter's own shape, in the moments' format.

    A `factored` optimizer keeps in their place, of tensors with two dimensions or more, one mean
    over the last dimension and one over the last but one.
    """

    name: str
    moments: int
    factored: bool = False
    counts_steps: bool = False

    def state_elements(self, shape: tuple[Number, ...]) -> Number:
        """Return how many values it keeps of a parameter tensor of `shape`, the count aside."""
        elements = prod(shape)
        if not self.factored or len(shape) < 2:
            return self.moments * elements
        rows, columns = shape[-2:]
        return self.moments * (exact_div(elements, columns) + exact_div(elements, rows))


OPTIMIZERS = {
    optimizer.name: optimizer
    for optimizer in (
        # Kingma and Ba 2014 (arXiv 1412.6980): first and second moment.
        Optimizer("adam", 2, counts_steps=True),
        Optimizer("adamw", 2, counts_steps=True),
        Optimizer("sgd", 0),
        Optimizer("sgd_momentum", 1),
        # Shazeer and Stern 2018 (arXiv 1804.04235), without first moment as torch has it.
        Optimizer("adafactor", 1, factored=True, counts_steps=True),
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
            for shape in weight.tensors:
                held += moment_bytes * kind.state_elements(shape) + step_bytes
            total += block.count * held
    return total


def state_bytes_per_parameter(name: str, moment_bytes: Number = 4) -> Number:
    """Return bytes of moments for each parameter: what `optimizer_bytes` tends to in large models.

    Step counts and the factors of matrices, whose share falls as a matrix grows, are left out.
    """
    kind = optimizer(name)
    return 0 if kind.factored else moment_bytes * kind.moments
