"""Products of two activations, without weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from costsim.algebra import Number, exact_div
from costsim.architectures.operators.base import Operator, Role
from costsim.architectures.tensors import Activation
from costsim.architectures.work import Direction, Gemm, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Product(Operator):
    """`count` products of activations: `left` (rows, inner) with `right` (inner, columns)."""

    left: str
    right: str
    rows: Number
    inner: Number
    columns: Number
    count: Number = 1
    split: Literal["heads"] | None = None  # tensor parallelism divides the count

    @property
    def role(self) -> Role:
        return "attention"

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        m, k, n = self.rows, self.inner, self.columns
        if direction == "forward":
            return (Gemm(m, n, k, self.count, weights=False),)
        return (
            Gemm(m, k, n, self.count, weights=False),  # 1. gradient of the left factor
            Gemm(k, n, m, self.count, weights=False),  # 2. of the right one
        )

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        return (
            Activation(self.left, self.count * self.rows * self.inner),
            Activation(self.right, self.count * self.inner * self.columns),
        )

    def shard(self, shard: Shard) -> Product:
        if self.split is None:
            return self
        return replace(self, count=exact_div(self.count, shard.tp))
