"""Attention whose scores are shifted by distances, as much as each query asks for (WavLM)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.layers.self_attention import SelfAttention


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedDistances:
    """`content`, and for each head of a position `gates` numbers of a product of its own input."""

    content: SelfAttention
    gates: Number = 8

    def build(self, x: Tensor) -> Tensor:
        """Record the gates, the shift of scores by distance, and attention."""
        heads, workload = self.content.heads, x.workload
        each = x.beside(x.name, x.rows * heads, self.content.head_dim).within("attention")
        gates = each.linear("gates", self.gates, bias=True)
        scaled = gates.learned("gates.scale", (1, heads, 1, 1), elements=0)
        pairs = workload.batch * workload.tokens * workload.kv_tokens
        distances = scaled.beside("attention.distances", pairs, heads)
        distances.elementwise("shift", read=2 * heads)
        return self.content.build(x)
