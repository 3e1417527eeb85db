"""Attention whose queries and outputs are projected by routed experts (JetMoE)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.operators import (
    Attention,
    Columns,
    Experts,
    Learned,
    Linear,
    Operator,
    Rotary,
    Routing,
)
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedAttention:
    """Each token's `top_k` of `experts` make `kv_heads` queries, over common keys and values."""

    experts: Number
    top_k: Number
    kv_heads: Number
    head_dim: Number
    dropout: bool = False

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and its name."""
        rows, width = workload.rows, self.kv_heads * self.head_dim
        routed, name = "attention.experts", "attention.output_bias"
        rotated = (self.top_k + 1) * width
        return (
            Linear.of("attention.router", source, rows, hidden, self.experts, use="router"),
            Routing(name="attention.routing", rows=rows, experts=self.experts, top_k=self.top_k),
            Linear(
                name="attention.key_value",
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(Columns(width, self.kv_heads),) * 2,
                split="column",
            ),
            Rotary(
                name="attention.rotary",
                rows=rows,
                tokens=workload.tokens,
                dim=self.head_dim,
                read=rotated,
                written=rotated,
                split="columns",
            ),
            Attention(
                name="attention.context",
                batch=workload.batch,
                query_heads=self.kv_heads * self.top_k,
                kv_heads=self.kv_heads,
                tokens=workload.tokens,
                context=workload.kv_tokens,
                head_dim=self.head_dim,
                value_dim=self.head_dim,
                dropout=self.dropout,
            ),
            # An expert is a pair: its projection to queries, and the one back from their context.
            Experts(
                name=routed,
                source=source,
                rows=rows,
                hidden=hidden,
                width=width,
                experts=self.experts,
                chosen_from=self.experts,
                top_k=self.top_k,
                gated=False,
            ),
            Learned(name=name, shapes=((hidden,),), elements=rows * hidden),
        ), name

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return keys and values of `tokens` positions."""
        elements = batch * tokens * self.kv_heads * self.head_dim
        return tuple(CacheTensor(name, elements, heads=self.kv_heads) for name in ("key", "value"))
