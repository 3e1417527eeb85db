"""Self-attention with multi-head, grouped or single keys and values."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, minimum
from costsim.architectures.operators import (
    Attention,
    Columns,
    Linear,
    Norm,
    Operator,
    Rotary,
)
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfAttention:
    """Projections to queries, keys and values, attention, and the projection back.

    `head_dim` stands apart from hidden/heads. `window` limits how far back a position sees;
    `query_key_norm` normalizes each head's queries and keys; `fused_projection` models hold the
    three projections in one matrix.
    """

    heads: Number
    kv_heads: Number
    head_dim: Number
    bias: bool = False  # of queries, keys and values
    output_bias: bool = False
    fused_projection: bool = False
    float32_softmax: bool = True  # whatever the format computed in
    rotary: bool = False
    query_key_norm: bool = False
    causal: bool = True
    window: Number | None = None
    dropout: bool = False

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        query_width = self.heads * self.head_dim
        kv_width = self.kv_heads * self.head_dim
        rows = workload.rows
        found: list[Operator] = [
            Linear(
                name="attention.query_key_value",
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(
                    Columns(query_width, self.heads),
                    Columns(kv_width, self.kv_heads),
                    Columns(kv_width, self.kv_heads),
                ),
                bias=self.bias,
                separate=not self.fused_projection,
                split="column",
            )
        ]
        if self.query_key_norm:
            for name, heads in (("query", self.heads), ("key", self.kv_heads)):
                found.append(
                    Norm(
                        name=f"attention.{name}_norm",
                        source=f"attention.{name}_projection",
                        rows=rows,
                        groups=heads,
                        width=self.head_dim,
                        kind="rms",
                        bias=False,
                        split="heads",
                    )
                )
        if self.rotary:
            rotated = query_width + kv_width
            found.append(
                Rotary(
                    name="attention.rotary",
                    rows=rows,
                    tokens=workload.tokens,
                    dim=self.head_dim,
                    read=rotated,
                    written=rotated,
                    split="columns",
                )
            )
        found.append(
            Attention(
                name="attention.context",
                batch=workload.batch,
                query_heads=self.heads,
                kv_heads=self.kv_heads,
                tokens=workload.tokens,
                context=self._context(workload),
                head_dim=self.head_dim,
                value_dim=self.head_dim,
                causal=self.causal,
                window=self.window,
                dropout=self.dropout,
                float32_softmax=self.float32_softmax,
            )
        )
        found.append(
            Linear.of(
                "attention.output",
                "attention.context",
                rows,
                query_width,
                hidden,
                bias=self.output_bias,
                split="row",
            )
        )
        return tuple(found), "attention.output"

    def _context(self, workload: Workload) -> Number:
        """Return how many positions are scored: of those in a cache, as many as a window keeps."""
        if self.window is None or workload.context is None:
            return workload.kv_tokens
        return minimum(workload.context, self.window - 1 + workload.tokens)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return keys and values of `tokens` positions.

        A window keeps one position fewer than its width: the next token is the last in its view.
        """
        held = tokens if self.window is None else minimum(tokens, self.window - 1)
        elements = batch * held * self.kv_heads * self.head_dim
        return (CacheTensor("key", elements), CacheTensor("value", elements))
