"""Attention whose scores are shifted by distances, as much as each query asks for (WavLM)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.self_attention import SelfAttention
from costsim.architectures.operators import Elementwise, Held, Learned, Linear, Operator
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedDistances:
    """`content`, and for each head of a position `gates` numbers of a product of its own input."""

    content: SelfAttention
    gates: Number = 8

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        content = self.content
        rows = workload.rows * content.heads
        pairs = workload.batch * workload.tokens * workload.kv_tokens
        name = "attention.gates"
        gating = (
            Linear.of(name, source, rows, content.head_dim, self.gates, bias=True),
            Learned(name=f"{name}.scale", shapes=((1, content.heads, 1, 1),)),
            Elementwise(
                name="attention.shift",
                rows=pairs,
                read=2 * content.heads,
                written=content.heads,
                holds=(Held("attention.distances", content.heads),),
            ),
        )
        found, output = content.operators(workload, hidden, source)
        return (*gating, *found), output
