"""Attention that scores contents and distances apart (DeBERTa)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, minimum
from costsim.architectures.layers.self_attention import SelfAttention
from costsim.architectures.operators import Attention, Columns, Linear, Operator
from costsim.architectures.operators.products import Product
from costsim.architectures.operators.wrapping import Reused
from costsim.architectures.workload import Workload

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

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        found, output = self.content.operators(workload, hidden, source)
        heads, head_dim = self.content.heads, self.content.head_dim
        rows = 2 * (minimum(workload.tokens, self.span) if self.clipped else self.span)
        extra: list[Operator] = []
        for scores, name, against, bias in (
            (self.to_distance, "key", "query", self.key_bias),
            (self.from_distance, "query", "key", True),
        ):
            if not scores:
                continue
            projection = Linear(
                name=f"attention.distance_{name}",
                source=DISTANCES,
                rows=rows,
                inputs=hidden,
                columns=(Columns(heads * head_dim, heads),),
                bias=self.content.bias if self.shared else bias,
                split="column",
            )
            extra.append(Reused.around(projection) if self.shared else projection)
            extra.append(
                Product(
                    name=f"attention.{against}_distance",
                    left=f"attention.context.{against}",
                    right=projection.name,
                    rows=workload.tokens,
                    inner=head_dim,
                    columns=rows,
                    count=workload.batch * heads,
                    split="heads",
                )
            )
        if self.mixed_heads:
            pairs = workload.batch * workload.tokens * workload.kv_tokens
            for name in ("scores", "probabilities"):
                extra.append(
                    Linear.of(f"attention.mixed_{name}", f"attention.{name}", pairs, heads, heads)
                )
        at = next(i for i, operator in enumerate(found) if isinstance(operator, Attention))
        return (*found[:at], *extra, *found[at:]), output
