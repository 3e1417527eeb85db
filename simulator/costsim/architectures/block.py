"""A block: the operators that a model repeats, and what holds for them together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from costsim.algebra import Number
from costsim.architectures.operators import Collective, Operator
from costsim.architectures.operators.wrapping import Idle
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True)
class Block:
    """`count` equal layers in a row; `source` is the activation that enters each."""

    name: str
    operators: tuple[Operator, ...]
    source: Activation
    count: Number = 1
    part: Literal["stem", "layer", "head"] = "layer"

    def weights(self) -> tuple[Weight, ...]:
        """Parameter tensors of one layer."""
        return tuple(weight for operator in self.operators for weight in operator.stored_weights())

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        """Activations that one layer keeps for its backward pass, each once."""
        kept: dict[str, Activation] = {}
        for operator in self.operators:
            for activation in operator.saved(execution):
                kept.setdefault(activation.name, activation)
        return tuple(kept.values())

    def collectives(self) -> tuple[Collective, ...]:
        """Tensor-parallel exchanges of one layer, each once."""
        found: dict[tuple[str, str], Collective] = {}
        for operator in self.operators:
            for collective in operator.collectives():
                found.setdefault((collective.name, collective.side), collective)
        return tuple(found.values())

    def shard(self, shard: Shard) -> Block:
        """Return one device's part; the kept input divides under sequence parallelism only."""
        source = replace(self.source, elements=shard.rows(self.source.elements))
        return replace(
            self, operators=tuple(op.shard(shard) for op in self.operators), source=source
        )

    def idle(self) -> Block:
        """Return the block as a pass leaves it that does not need it: weights without work."""
        return replace(self, operators=tuple(Idle.around(operator) for operator in self.operators))

    def flops(self, execution: Execution = FUSED) -> Number:
        """Forward FLOPs of one layer."""
        return sum(work.flops for op in self.operators for work in op.work("forward", execution))
