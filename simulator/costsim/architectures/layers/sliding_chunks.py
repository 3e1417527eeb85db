"""Attention within a window, computed in overlapping chunks (Longformer)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, ceil_div
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns
from costsim.architectures.operators.wrapping import Idle


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidingChunks:
    """Self-attention in which a position sees half a `window` either way.

    Scores are products of chunks of two halves, each overlapping the next by one; values are
    weighted by three halves at a time. Positions that see all others have projections of their own,
    which a text without any leaves idle.
    """

    heads: Number
    head_dim: Number
    window: Number

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        heads, width = self.heads, self.heads * self.head_dim
        half = self.window // 2
        chunks = 2 * ceil_div(x.workload.tokens, self.window)  # of half a window
        count = x.workload.batch * heads
        at = x.within("attention")

        def projected(name: str) -> Tensor:
            columns = (Columns(width, heads),) * 3
            return at.linear(name, *columns, bias=True, separate=True, split="column")

        made = projected("query_key_value")
        with x.recorder.wrapped(Idle.around):
            projected("global_query_key_value")
        key, value = made.called("key"), made.called("value")
        scores = made.called("query").product(
            "scores",
            key,
            rows=2 * half,
            inner=self.head_dim,
            columns=2 * half,
            count=count * (chunks - 1),
        )
        context = scores.called("probabilities").product(
            "context", value, rows=half, inner=3 * half, columns=self.head_dim, count=count * chunks
        )
        return context.called("context", width).linear("output", x.width, bias=True, split="row")
