"""Attention whose queries and outputs are projected by routed experts (JetMoE)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.mixture_of_experts import route, through_experts
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns
from costsim.architectures.tensors import CacheTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedAttention:
    """Each token's `top_k` of `experts` make `kv_heads` queries, over common keys and values."""

    experts: Number
    top_k: Number
    kv_heads: Number
    head_dim: Number
    dropout: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        groups, width, hidden = self.kv_heads, self.kv_heads * self.head_dim, x.width
        x = x.within("attention")
        chosen = route(x, self.experts, self.top_k)
        columns = Columns(width, groups)
        made = x.linear("key_value", columns, columns, split="column")
        rotated = made.rotary((self.top_k + 1) * width, self.head_dim)
        context = rotated.attend(
            groups * self.top_k, self.head_dim, made, kv_heads=groups, dropout=self.dropout
        )
        # An expert is a pair: its projection to queries, and the one back from their context.
        output = through_experts(
            x, chosen, context, width=width, experts=self.experts, top_k=self.top_k, gated=False
        )
        return output.learned("output_bias", (hidden,))

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return keys and values of `tokens` positions."""
        elements = batch * tokens * self.kv_heads * self.head_dim
        return tuple(CacheTensor(name, elements, heads=self.kv_heads) for name in ("key", "value"))
