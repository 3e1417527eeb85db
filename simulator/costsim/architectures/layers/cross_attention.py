"""Attention of a decoder's positions to what an encoder made of another sequence."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns
from costsim.architectures.operators.wrapping import Idle
from costsim.architectures.tensors import CacheTensor

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

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        workload = x.workload
        seen, encoded = workload.kv_tokens, workload.tokens
        if workload.source_tokens is not None:
            seen = encoded = workload.source_tokens
        at = x.within("cross_attention")
        query = at.linear(
            "query",
            Columns(self.heads * self.head_dim, self.heads),
            bias=self.query_bias,
            split="column",
        )
        source_width = x.width if self.source_width is None else self.source_width
        source = at.beside(ENCODED, workload.batch * encoded, source_width)
        columns = Columns(self.kv_heads * self.head_dim, self.kv_heads)
        with x.recorder.wrapped(Idle.around if workload.generates else None):
            key = source.linear("key", columns, bias=self.key_bias, split="column")
            value = source.linear("value", columns, bias=self.value_bias, split="column")
        context = query.attend(
            self.heads,
            self.head_dim,
            key,
            value,
            kv_heads=self.kv_heads,
            context=seen,
            causal=False,
            dropout=self.dropout,
        )
        return context.linear("output", x.width, bias=self.output_bias, split="row")

    def source_cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return keys and values of `tokens` encoded positions."""
        elements = batch * tokens * self.kv_heads * self.head_dim
        return tuple(
            CacheTensor(name, elements, heads=self.kv_heads)
            for name in ("cross_key", "cross_value")
        )
