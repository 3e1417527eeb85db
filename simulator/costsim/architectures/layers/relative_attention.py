"""Self-attention that also scores how far apart two positions are (Transformer-XL, Gopher)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.self_attention import SelfAttention
from costsim.architectures.operators.base import Operator
from costsim.architectures.operators.relative import RelativePositions
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativeAttention(SelfAttention):
    """Self-attention with a term of the scores for relative positions."""

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        found, name = SelfAttention.operators(self, workload, hidden, source)
        relative = RelativePositions(
            name="attention.relative",
            batch=workload.batch,
            tokens=workload.tokens,
            context=workload.kv_tokens,
            inputs=hidden,
            heads=self.heads,
            head_dim=self.head_dim,
        )
        return (relative, *found), name
