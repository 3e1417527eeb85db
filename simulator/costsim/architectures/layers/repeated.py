"""Layers that run again with the weights that they have."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.layer import Layer
from costsim.architectures.operators import Learned, Operator
from costsim.architectures.operators.wrapping import Detached, Reused
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of `layer`: `again` with weights counted elsewhere, or without a backward pass."""

    layer: Layer
    again: bool = False
    detached: bool = False

    def operators(self, workload: Workload, hidden: Number) -> tuple[Operator, ...]:
        """Return the operators of this run."""
        found = self.layer.operators(workload, hidden)
        if self.again:
            found = tuple(Reused.around(operator) for operator in found)
        if self.detached:
            found = tuple(Detached.around(operator) for operator in found)
        return found

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what this run keeps: every run has keys and values of its own."""
        return self.layer.cache(batch, tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The state that the lower stack starts from: a parameter, though it is not trained."""

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operator that holds it, and its name."""
        name = "embedding.start"
        return (Learned(name=name, shapes=((hidden,),), elements=workload.rows * hidden),), name
