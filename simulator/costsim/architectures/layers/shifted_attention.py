"""Attention with a term for each distance, over sequences that get shorter."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number, ceil_div
from costsim.architectures.layers.branches import Branches
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedAttention:
    """Attention with a term for each distance and one for the segment (Funnel, Transformer-XL).

    Queries may be fewer than keys, where a stack shortens what it reads: those are `context`.
    """

    heads: Number
    head_dim: Number
    dropout: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        heads, width, hidden, workload = self.heads, self.heads * self.head_dim, x.width, x.workload
        keys = workload.kv_tokens
        per_head, at = (heads, self.head_dim), x.within("attention")
        query = at.linear("query", width, split="column")
        longer = at.beside(f"{x.name}.longer", workload.batch * keys, hidden)
        columns = Columns(width, heads)
        made = longer.linear(
            "key_value", columns, columns, bias=True, separate=True, split="column"
        )
        query.learned("biases", *(per_head,) * 3, elements=3 * x.rows * width)
        # Distances are sinusoids, which need no gradient.
        distances = at.beside("distances", 2 * keys, hidden).linear(
            "distance", width, split="column", leaf=True
        )
        self._scores(query, "distance_scores", distances, 2 * keys)
        segments = query.learned("segments", (2, *per_head), elements=0)
        self._scores(query, "segment_scores", segments, 2)
        context = query.attend(heads, self.head_dim, made, causal=False, dropout=self.dropout)
        return context.linear("output", hidden, bias=True, split="row")

    def _scores(self, query: Tensor, name: str, right: Tensor, columns: Number) -> None:
        query.called("context.query").product(
            name,
            right,
            rows=query.workload.tokens,
            inner=self.head_dim,
            columns=columns,
            count=query.workload.batch * self.heads,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortened:
    """A layer over a sequence that was halved `times`, each time rounded up.

    A layer that `shortens` is the first of its length: its queries are as few, its keys are those
    of the layer below.
    """

    layer: Branches
    times: int
    shortens: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record the layer."""
        given = x.workload
        before = given.tokens
        for _ in range(self.times - 1):
            before = ceil_div(before, 2)
        tokens = ceil_div(before, 2) if self.times else before
        context = before if self.shortens else tokens
        workload = replace(given, tokens=tokens, context=context)
        with x.recorder.during(workload):
            return self.layer.build(x.beside(x.name, workload.rows, x.width))
