"""Operators with something taken away: weights that are another's, work that is not asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from costsim.architectures.operators.base import Collective, Operator, Role
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped(Operator):
    """An operator that works as `inner` does."""

    inner: Operator

    @classmethod
    def around(cls, operator: Operator) -> Self:
        """Return `operator`, wrapped, under its own name."""
        return cls(name=operator.name, inner=operator, packing=operator.packing)

    @property
    def role(self) -> Role:
        return self.inner.role

    def weights(self) -> tuple[Weight, ...]:
        return self.inner.weights()

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        return self.inner.work(direction, execution)

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        return self.inner.saved(execution)

    def shared(self, execution: Execution, *, recomputed: bool) -> tuple[Activation, ...]:
        return self.inner.shared(execution, recomputed=recomputed)

    def collectives(self) -> tuple[Collective, ...]:
        return self.inner.collectives()

    def shard(self, shard: Shard) -> Self:
        return replace(self, inner=self.inner.shard(shard))


def unwrapped(operator: Operator) -> Operator:
    """Return what works inside any wrapping."""
    while isinstance(operator, Wrapped):
        operator = operator.inner
    return operator


def rewrapped(operator: Operator, change: Callable[[Operator], Operator]) -> Operator:
    """Return `operator` with what works inside its wrapping changed."""
    if isinstance(operator, Wrapped):
        return replace(operator, inner=rewrapped(operator.inner, change))
    return change(operator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused(Wrapped):
    """An operator with the weights of one that stands elsewhere, counted there."""

    def weights(self) -> tuple[Weight, ...]:
        return tuple(
            replace(weight, tied_to=weight.tied_to or weight.name)
            for weight in self.inner.weights()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached(Wrapped):
    """An operator whose result the loss does not depend on: it has no backward pass."""

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        return self.inner.work(direction, execution) if direction == "forward" else ()

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        return ()

    def collectives(self) -> tuple[Collective, ...]:
        return tuple(found for found in self.inner.collectives() if found.side == "exit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle(Wrapped):
    """An operator that a pass leaves out: its weights are there, it does nothing."""

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        return ()

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        return ()

    def shared(self, execution: Execution, *, recomputed: bool) -> tuple[Activation, ...]:
        return ()

    def collectives(self) -> tuple[Collective, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Again(Wrapped):
    """What is repeated of an operator's forward pass: work at `positions`, or all (None)."""

    positions: tuple[int, ...] | None

    @classmethod
    def parts_of(cls, operator: Operator, positions: tuple[int, ...] | None) -> Again:
        """Return `operator` as far as it is repeated."""
        return cls(
            name=operator.name, inner=operator, packing=operator.packing, positions=positions
        )

    @property
    def in_part(self) -> bool:
        """Whether some of its work is not repeated, nor what it exchanges by itself."""
        return self.positions is not None

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        if direction == "backward":
            return ()
        work = self.inner.work(direction, execution)
        return work if self.positions is None else tuple(work[i] for i in self.positions)

    def collectives(self) -> tuple[Collective, ...]:
        return () if self.in_part else self.inner.collectives()
