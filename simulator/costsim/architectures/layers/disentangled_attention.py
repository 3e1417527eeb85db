"""Attention that scores contents and distances apart (DeBERTa)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, minimum
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.layers.self_attention import SelfAttention
from costsim.architectures.operators import Columns
from costsim.architectures.operators.wrapping import Reused

DISTANCES = "embedding.distances"
"""What the table of distances is called in every layer that reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisentangledAttention:
    """Self-attention whose scores are of content with content, and with distances either way.

    `content` is the attention itself. Distances up to `span` either way have a vector each, from a
    table common to all layers. Those within the sequence are projected where `clipped` (DeBERTa),
    else all of them (version 2). `to_distance` scores queries with projected distances, for which
    keys' weights serve where `shared`; `from_distance` keys with distances projected like queries.
    `mixed_heads` mixes the scores of heads before the softmax, and what it makes after.
    """

    content: SelfAttention
    span: Number
    to_distance: bool = False
    from_distance: bool = False
    shared: bool = False
    key_bias: bool = True  # of the projection for `to_distance`
    clipped: bool = False
    mixed_heads: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        content = self.content
        x, hidden = x.within("attention"), x.width
        query, key, value = content.projected(x)
        if self.to_distance:
            self._distances(query, "key", "query", hidden, self.key_bias)
        if self.from_distance:
            self._distances(key, "query", "key", hidden, True)
        if self.mixed_heads:
            pairs = x.workload.batch * x.workload.tokens * x.workload.kv_tokens
            for name in ("scores", "probabilities"):
                scores = x.beside(f"attention.{name}", pairs, content.heads)
                scores.linear(f"mixed_{name}", content.heads)
        context = content.over(x, query, key, value)
        return context.linear("output", hidden, bias=content.output_bias, split="row")

    def _distances(self, made: Tensor, name: str, against: str, hidden: Number, bias: bool) -> None:
        """Record the projection of distances, and the scores of what was `made` with them."""
        content, workload = self.content, made.workload
        heads, head_dim = content.heads, content.head_dim
        rows = 2 * (minimum(workload.tokens, self.span) if self.clipped else self.span)
        table = made.beside(DISTANCES, rows, hidden)
        with made.recorder.wrapped(Reused.around if self.shared else None):
            projected = table.linear(
                f"distance_{name}",
                Columns(heads * head_dim, heads),
                bias=content.bias if self.shared else bias,
                split="column",
            )
        made.called(f"context.{against}").product(
            f"{against}_distance",
            projected,
            rows=workload.tokens,
            inner=head_dim,
            columns=rows,
            count=workload.batch * heads,
        )
