"""Relative positions as Transformer-XL scores them (Dai et al. 2019, arXiv 1901.02860)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number, exact_div
from costsim.architectures.operators import eager_work
from costsim.architectures.operators.base import Operator, Role
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, Gemm, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativePositions(Operator):
    """A projection of distances, shared by the batch, and its product with the queries.

    Distances are constants: no gradient flows to them, and generation projects each once.
    """

    batch: Number
    tokens: Number
    context: Number
    inputs: Number
    heads: Number
    head_dim: Number

    @property
    def role(self) -> Role:
        return "attention"

    def weights(self) -> tuple[Weight, ...]:
        outputs = self.heads * self.head_dim
        shapes = ((outputs, self.inputs),)
        return (Weight(f"{self.name}.weight", self.inputs * outputs, shapes=shapes),)

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        outputs, heads = self.heads * self.head_dim, self.heads
        queries, keys, dim = self.batch * self.tokens, self.context, self.head_dim
        added = eager_work.relative(self, direction) if execution.style == "eager" else ()
        if direction == "forward":
            return (
                *added,
                Gemm(self.tokens, outputs, self.inputs),
                Gemm(queries, keys, dim, heads, weights=False),
            )
        return (
            *added,
            Gemm(self.inputs, outputs, self.tokens, weights=False),  # 1. gradient of the weight
            Gemm(queries, dim, keys, heads, weights=False),  # 2. of the queries
            Gemm(keys, dim, queries, heads, weights=False),  # 3. of the projected distances
        )

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        # The queries are kept by attention itself.
        return (Activation(self.name, self.tokens * self.heads * self.head_dim),)

    def shard(self, shard: Shard) -> RelativePositions:
        return replace(self, heads=exact_div(self.heads, shard.tp))
