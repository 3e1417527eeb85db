"""An architecture: a described model, and the exact totals that follow from the description."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from costsim.algebra import Number, exact_div
from costsim.architectures.activations import kept_bytes
from costsim.architectures.block import Block
from costsim.architectures.files.described import Adapter
from costsim.architectures.formats import bytes_for
from costsim.architectures.operators import Embedding
from costsim.architectures.quantization import Quantization
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import FUSED, REFERENCE, Execution, Workload

if TYPE_CHECKING:
    from sympy import Expr

Image: TypeAlias = int | tuple[int, ...] | None
"""The size of an image: a side, each of its dimensions, or None for a model's native one."""

DEFAULT_SEQUENCE = 2048
"""Tokens of a sequence where none are given."""


class Description(Protocol):
    """Anything that can be unrolled into blocks: a transformer, a convolutional net, a trace."""

    @property
    def context_limit(self) -> Number | None:
        """Longest sequence the model is made for, where there is a limit."""
        ...

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return stem, layers and head as they work on `workload`."""
        ...

    def cache(self, batch: Number, tokens: Number) -> tuple[tuple[CacheTensor, Number], ...]:
        """Return each cached tensor with how many layers hold one like it."""
        ...


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model by name and description. Totals are exact integers; multiply-add = 2 FLOPs."""

    name: str
    description: Description
    source: str = ""  # where the description was read: a catalog entry, a config.json, a YAML
    notes: tuple[str, ...] = ()  # what was taken for granted while reading it
    quantization: Quantization | None = None  # how published weights are stored, where said
    adapter: Adapter | None = None  # what a release puts beside the weights of its base model
    _at_rest: list[tuple[Block, ...]] = field(
        default_factory=list[tuple[Block, ...]], init=False, repr=False, compare=False
    )  # the blocks without a workload, once they were asked for

    def __repr__(self) -> str:
        return f"<Architecture {self.name!r}: {self.parameters:,} parameters>"

    def blocks(self, workload: Workload | None = None) -> tuple[Block, ...]:
        """Return stem, layers and head as they work on `workload`."""
        if workload is not None:
            return self.description.blocks(workload)
        if not self._at_rest:
            at_rest = getattr(self.description, "blocks_at_rest", None)
            once = self.description.blocks(Workload(1, 1)) if at_rest is None else at_rest()
            self._at_rest.append(once)
        return self._at_rest[0]

    @property
    def parameters(self) -> int:
        """Trained parameters; tied weights counted once."""
        return int(parameters(self.blocks()))

    @property
    def active_parameters(self) -> int:
        """Parameters that one token uses: of routed experts, only those it is sent to."""
        return int(active_parameters(self.blocks()))

    @property
    def embedding_parameters(self) -> int:
        """Parameters of look-up tables (tokens, positions), which do no FLOPs."""
        held = ((block.count, weight) for block in self.blocks() for weight in block.weights())
        return int(sum(count * w.stored_elements for count, w in held if w.lookup))

    @property
    def reads_tokens(self) -> bool:
        """Whether it works on sequences of tokens, and not on images or other samples."""
        return any(
            isinstance(operator, Embedding) and operator.vocabulary
            for block in self.blocks()
            for operator in block.operators
        )

    @property
    def depth(self) -> int:
        """Number of layers between stem and head."""
        return int(sum(block.count for block in self.blocks() if block.part == "layer"))

    @property
    def context_limit(self) -> int | None:
        """Longest sequence the model is made for; formulas hold beyond it too."""
        limit = self.description.context_limit
        return None if limit is None else int(limit)

    def forward_flops(
        self, batch: int = 1, sequence: int | None = None, image: Image = None
    ) -> int:
        """Return FLOPs of one forward pass: full mask, logits at every position.

        This is what torch's `FlopCounterMode` counts of the reference code with eager attention. A
        net of images takes `batch` of them, of its native size or of `image` (a side, or each
        dimension).
        """
        blocks = self.blocks(self._workload(batch, sequence, image))
        return int(forward_flops(blocks, REFERENCE))

    def training_flops(
        self, batch: int = 1, sequence: int | None = None, image: Image = None
    ) -> int:
        """Return FLOPs of one forward and backward pass without recomputation."""
        blocks = self.blocks(self._workload(batch, sequence, image))
        return int(forward_flops(blocks, REFERENCE) + backward_flops(blocks, REFERENCE))

    def decode_flops(self, batch: int = 1, past: int = 2048) -> int:
        """Return FLOPs of generating one token for each of `batch` sequences of `past` tokens."""
        return int(forward_flops(self.blocks(Workload.generation(batch, past)), REFERENCE))

    def cache_bytes(self, batch: int = 1, sequence: int = 4096, dtype: str = "bf16") -> int:
        """Return bytes that generation keeps after `sequence` tokens: keys, values, state."""
        return int(cache_bytes(self.description, batch, sequence, dtype))

    def activation_bytes(
        self,
        batch: int = 1,
        sequence: int | None = None,
        dtype: str = "bf16",
        execution: Execution = FUSED,
        image: Image = None,
    ) -> int:
        """Return bytes that one device keeps for the backward pass without recomputation."""
        return int(kept_bytes(self, self._workload(batch, sequence, image), execution, dtype))

    def _workload(self, batch: int, sequence: int | None, image: Image) -> Workload:
        """Return a full pass; a length that is not given is the traced one, else 2048."""
        if sequence is None:
            usual = _usual(self.description)
            sequence = DEFAULT_SEQUENCE if usual is None else usual.tokens
        return Workload(batch, sequence, image=image)

    def formula(self, quantity: str) -> Expr:
        """Return the closed form of a quantity in the model's own symbols (see `explain`)."""
        from costsim.architectures.formulas import formula

        return formula(self, quantity).expression


def _usual(description: Description) -> Workload | None:
    """Return the inputs that a description was made with, if it was made with any (a trace)."""
    return getattr(description, "usual_workload", None)


def parameters(blocks: tuple[Block, ...]) -> Number:
    """Return the parameters that `blocks` hold, tied ones once."""
    return sum(b.count * weight.stored_elements for b in blocks for weight in b.weights())


def active_parameters(blocks: tuple[Block, ...]) -> Number:
    """Return the parameters of `blocks` that one token uses."""
    return sum(b.count * weight.active for b in blocks for weight in b.weights())


def forward_flops(blocks: tuple[Block, ...], execution: Execution = FUSED) -> Number:
    """Return the FLOPs of a forward pass through `blocks`."""
    return sum(
        block.count * work.flops
        for block in blocks
        for operator in block.operators
        for work in operator.work("forward", execution)
    )


def backward_flops(blocks: tuple[Block, ...], execution: Execution = FUSED) -> Number:
    """Return the FLOPs of the backward pass through `blocks`."""
    return sum(
        block.count * work.flops
        for block in blocks
        for operator in block.operators
        for work in operator.work("backward", execution)
    )


def cache_bytes(description: Description, batch: Number, tokens: Number, dtype: str) -> Number:
    """Return bytes that generation keeps after `tokens` positions of `batch` sequences."""
    return sum(
        count * cached_bytes(tensor, dtype) for tensor, count in description.cache(batch, tokens)
    )


def cached_bytes(tensor: CacheTensor, dtype: str) -> Number:
    """Return bytes of one cached tensor as the reference code holds it, in `dtype`."""
    if tensor.bits is not None:
        return exact_div(tensor.elements * tensor.copies * tensor.bits, 8)
    return (
        tensor.elements * tensor.copies * (4 if tensor.storage == "float32" else bytes_for(dtype))
    )
