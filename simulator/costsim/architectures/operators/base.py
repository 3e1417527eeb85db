"""What every operator answers: its weights, its work, what it keeps, and its share of a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeAlias

from costsim.algebra import Number
from costsim.architectures.tensors import Activation, Packing, Weight
from costsim.architectures.work import Direction, Work
from costsim.architectures.workload import Execution, Shard

Role: TypeAlias = Literal["matrix", "head", "router", "attention", "other"]
"""What decides the precision an operator computes in: layer matrices follow the recipe (fp8, …),
the LM head, routers and attention keep the compute dtype."""


@dataclass(frozen=True, slots=True)
class Collective:
    """What a tensor-parallel region exchanges: `elements` of the whole activation.

    At its `exit` partial sums are reduced in the forward pass; at its `entry` gradients are
    reduced in the backward pass. Under sequence parallelism the pair becomes reduce-scatter and
    all-gather.
    """

    name: str  # of the tensor: exchanged once however many operators read it
    elements: Number
    side: Literal["entry", "exit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator(ABC):
    """One step of a block. Dimensions are those of the whole model until it is sharded.

    `reads` are the operators whose results it reads, by name: those of its block, or what enters
    it. `packing` says how its matrices are stored, where a recipe compressed them.
    """

    name: str
    reads: tuple[str, ...] = ()
    packing: Packing | None = None

    @property
    def role(self) -> Role:
        """What decides the precision it computes in."""
        return "other"

    def weights(self) -> tuple[Weight, ...]:
        """Parameter tensors that it holds."""
        return ()

    def stored_weights(self) -> tuple[Weight, ...]:
        """Parameter tensors, each with how a recipe stores it."""
        if self.packing is None:
            return self.weights()
        return tuple(
            replace(weight, packing=self.packing) if weight.matrix else weight
            for weight in self.weights()
        )

    @abstractmethod
    def work(self, direction: Direction, execution: Execution) -> tuple[Work, ...]:
        """Kernels that one pass in `direction` launches."""

    def saved(self, execution: Execution) -> tuple[Activation, ...]:
        """Tensors that its backward pass needs from its forward pass."""
        del execution
        return ()

    def shared(self, execution: Execution, *, recomputed: bool) -> tuple[Activation, ...]:
        """Tensors made once for all layers that its backward pass, or recomputing it, needs."""
        del execution, recomputed
        return ()

    def collectives(self) -> tuple[Collective, ...]:
        """Exchanges that tensor parallelism adds."""
        return ()

    @abstractmethod
    def shard(self, shard: Shard) -> Self:
        """Return the part of it that one device of the group executes."""
