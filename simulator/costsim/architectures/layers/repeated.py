"""Layers that run again with the weights that they have."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.layer import Layer
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators.wrapping import Detached, Reused
from costsim.architectures.tensors import CacheTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of `layer`: `again` with weights counted elsewhere, or without a backward pass."""

    layer: Layer
    again: bool = False
    detached: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record this run."""
        recorder = x.recorder
        with (
            recorder.wrapped(Detached.around if self.detached else None),
            recorder.wrapped(Reused.around if self.again else None),
        ):
            return self.layer.build(x)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what this run keeps: every run has keys and values of its own."""
        return self.layer.cache(batch, tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The state that the lower stack starts from: a parameter, though it is not trained."""

    def build(self, x: Tensor) -> Tensor:
        """Record the tensor that holds it."""
        return x.within("embedding").learned("start", (x.width,))
