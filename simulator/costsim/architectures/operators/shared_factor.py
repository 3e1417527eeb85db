"""Products of many vectors a row with one matrix that they share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number, exact_div
from costsim.architectures.operators.base import Operator, Role
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, Gemm, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFactor(Operator):
    """(rows · groups, inputs) × (inputs, outputs): the same matrix for each of `groups` (heads).

    Tensor parallelism divides the groups; every device holds the matrix.
    """

    source: str
    rows: Number
    groups: Number
    inputs: Number
    outputs: Number

    @property
    def role(self) -> Role:
        return "attention"

    def weights(self) -> tuple[Weight, ...]:
        shape = (self.inputs, self.outputs)
        return (Weight(f"{self.name}.weight", self.inputs * self.outputs, shapes=(shape,)),)

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        rows = self.rows * self.groups
        if direction == "forward":
            return (Gemm(rows, self.outputs, self.inputs),)
        return (
            Gemm(rows, self.inputs, self.outputs),  # 1. gradient of the input
            Gemm(self.inputs, self.outputs, rows, weights=False),  # 2. of the matrix
        )

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        return (Activation(self.source, self.rows * self.groups * self.inputs),)

    def shard(self, shard: Shard) -> SharedFactor:
        return replace(self, groups=exact_div(self.groups, shard.tp))
