"""Tensors by name: weights that are trained, activations that are kept, caches that grow.

A tensor is counted once however many operators hold it, because what is counted is its name: tied
weights and an activation that two operators save need no special case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from costsim.algebra import Number, exact_div, maximum

Storage: TypeAlias = Literal["compute", "weight", "float32", "mask", "index", "state"]
"""In what format an element is held: the compute dtype, the weights' own (under autocast also that
of the residual stream), 4 bytes, 1 byte (dropout masks), 8 bytes (token ids), or the format of
recurrent state."""


class Packing(Protocol):
    """How a matrix is stored where a recipe says so (see `costsim.compression.formats`)."""

    @property
    def kernels(self) -> tuple[str, ...]:
        """Formats of `costsim.hardware.kernels` that its products may run in, the best first."""
        ...

    def stored_bytes(self, shape: tuple[Number, ...]) -> Number:
        """Return all bytes of a tensor of `shape`: elements, scales, zeros, indices."""
        ...


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter tensor."""

    name: str
    elements: Number
    tied_to: str | None = None  # name of the weight whose storage this one shares
    matrix: bool = True  # quantizable; False for biases, norms, scalars
    lookup: bool = False  # a table of which rows are read, not a factor of a product
    active_elements: Number | None = None  # those that one token uses, where fewer (experts)
    shapes: tuple[tuple[Number, ...], ...] = ()  # of the tensors it is stored as; () = one vector
    packing: Packing | None = None  # how it is stored, where not in the format of the others
    frozen: bool = False  # not trained: no gradient and no optimizer state

    @property
    def stored_elements(self) -> Number:
        """Elements that this weight adds to the model: none where it shares another's storage."""
        return 0 if self.tied_to else self.elements

    @property
    def tensors(self) -> tuple[tuple[Number, ...], ...]:
        """Shapes of the parameter tensors that this weight adds to the model."""
        if self.tied_to:
            return ()
        return self.shapes or ((self.elements,),)

    def stored_bytes(self, element_bytes: Number) -> Number:
        """Return its bytes where elements that are not packed take `element_bytes`."""
        if self.packing is None:
            return element_bytes * self.stored_elements
        return sum(self.packing.stored_bytes(shape) for shape in self.tensors)

    @property
    def active(self) -> Number:
        """Elements that one token uses."""
        return self.stored_elements if self.active_elements is None else self.active_elements


@dataclass(frozen=True, slots=True)
class Activation:
    """A tensor that the forward pass leaves for the backward pass."""

    name: str
    elements: Number
    storage: Storage = "compute"
    inner: bool = False  # made inside its operator: selective recompute drops it


@dataclass(frozen=True, slots=True)
class CacheTensor:
    """A tensor that generation keeps between steps: keys and values, or recurrent state.

    The reference code of some models holds several equal `copies` of it (Falcon repeats keys and
    values for each query head); servers do not. `bits` are those of an element with its share of
    scales, where a recipe quantizes what is cached. Tensor parallelism divides its `heads`, beyond
    which ranks hold copies; a tensor of 1 is held by all, one of None divides over any number.
    """

    name: str
    elements: Number
    storage: Storage = "compute"
    copies: Number = 1
    bits: Number | None = None
    heads: Number | None = None

    def share(self, ranks: Number) -> Number:
        """Return the part of it that each of `ranks` holds under tensor parallelism."""
        if self.heads is None:
            return exact_div(1, ranks)
        return exact_div(maximum(exact_div(self.heads, ranks), 1), self.heads)
