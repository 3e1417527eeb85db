"""Attention of a decoder's positions to what an encoder made of another sequence."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.operators import Attention, Columns, Linear, Operator
from costsim.architectures.operators.wrapping import Idle
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload

ENCODED = "encoder.output"
"""What the encoder's output is called in every layer that reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossAttention:
    """Queries of the stream, keys and values of the encoder's output.

    Keys and values are made once a sequence: while generating they are read from the cache.
    `source_width` is the encoder's, where it is not the stream's.
    """

    heads: Number
    kv_heads: Number
    head_dim: Number
    source_width: Number | None = None
    query_bias: bool = True
    key_bias: bool = True
    value_bias: bool = True
    output_bias: bool = True
    dropout: bool = False

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows, name = workload.rows, "cross_attention"
        seen = workload.kv_tokens if workload.source_tokens is None else workload.source_tokens
        encoded = workload.tokens if workload.source_tokens is None else workload.source_tokens
        width, kv_width = self.heads * self.head_dim, self.kv_heads * self.head_dim
        found: list[Operator] = [
            Linear(
                name=f"{name}.query",
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(Columns(width, self.heads),),
                bias=self.query_bias,
                split="column",
            )
        ]
        for part, bias in (("key", self.key_bias), ("value", self.value_bias)):
            projection = Linear(
                name=f"{name}.{part}",
                source=ENCODED,
                rows=workload.batch * encoded,
                inputs=hidden if self.source_width is None else self.source_width,
                columns=(Columns(kv_width, self.kv_heads),),
                bias=bias,
                split="column",
            )
            found.append(Idle.around(projection) if workload.generates else projection)
        found.append(
            Attention(
                name=f"{name}.context",
                batch=workload.batch,
                query_heads=self.heads,
                kv_heads=self.kv_heads,
                tokens=workload.tokens,
                context=seen,
                head_dim=self.head_dim,
                value_dim=self.head_dim,
                causal=False,
                dropout=self.dropout,
            )
        )
        output = f"{name}.output"
        found.append(
            Linear.of(
                output,
                f"{name}.context",
                rows,
                width,
                hidden,
                bias=self.output_bias,
                split="row",
            )
        )
        return tuple(found), output

    def source_cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return keys and values of `tokens` encoded positions."""
        elements = batch * tokens * self.kv_heads * self.head_dim
        return tuple(
            CacheTensor(name, elements, heads=self.kv_heads)
            for name in ("cross_key", "cross_value")
        )
