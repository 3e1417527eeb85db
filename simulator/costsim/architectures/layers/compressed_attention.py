"""Attention to a window and to compressed entries of all before it (DeepSeek-V4).

One key that is its value serves all heads. Of every `rate` positions a gated sum makes one entry
more; where entries are many, small heads pick those that a query attends to. Outputs of groups of
heads are compressed before they are projected back (DeepSeek-V4 technical report, section 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, exact_div, minimum
from costsim.architectures.layers.latent_attention import SparseIndex
from costsim.architectures.layers.norm import RMS, NormStyle
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns
from costsim.architectures.operators.wrapping import Detached
from costsim.architectures.tensors import CacheTensor

_BARE = NormStyle(kind="rms", weight=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedAttention:
    """Attention to the last `window` positions, and to an entry for every `rate` of all.

    With an `index` two series of entries overlap, and each query attends to what it picks.
    """

    heads: Number
    head_dim: Number
    rotary_dim: Number
    query_latent_dim: Number
    output_groups: Number
    output_latent_dim: Number
    window: Number
    rate: int | None = None
    index: SparseIndex | None = None
    dropout: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        heads, dim, workload = self.heads, self.head_dim, x.workload
        at = x.within("attention")
        latent = at.linear("query_latent", self.query_latent_dim).norm("query_latent_norm", RMS)
        query = latent.linear("query", Columns(heads * dim, heads), split="column")
        query = query.norm("query_norm", _BARE, width=dim, groups=heads, split="heads")
        key = at.linear("key_value", dim).norm("key_value_norm", RMS)
        query = query.rotary((heads + 1) * self.rotary_dim, self.rotary_dim, key)
        seen = workload.kv_tokens
        if workload.generates:
            seen = minimum(seen, self.window - 1 + workload.tokens)
        context = query.attend(
            heads,
            dim,
            key,
            kv_heads=1,
            context=seen,
            window=self.window,
            dropout=self.dropout,
            sinks=True,
        )
        if self.rate is not None:
            entries = self._entries(at, latent, self.rate)
            chosen = query.within("compressed").attend(
                heads,
                dim,
                entries,
                kv_heads=1,
                context=workload.kv_tokens // self.rate,
                causal=False,
                selected=None if self.index is None else self.index.selected,
            )
            context = context.elementwise("joined", chosen, keeps=(), split="columns")
        context = context.rotary(heads * self.rotary_dim, self.rotary_dim)
        groups = self.output_groups
        context = context.beside(context.name, x.rows, heads * dim)
        inner = context.blocks(
            "output_latent", groups, exact_div(heads * dim, groups), self.output_latent_dim
        )
        return inner.linear("output", x.width, split="row")

    def _entries(self, x: Tensor, latent: Tensor, rate: int) -> Tensor:
        """Record the entries, and the choice among them where there is one."""
        series = 1 if self.index is None else 2
        entries = _compressed(x.within("compressor"), self.head_dim, series, rate)
        if self.index is not None:
            with x.recorder.wrapped(Detached.around):
                self._choose(x.within("indexer"), latent.within("indexer"), self.index, rate)
        return entries

    def _choose(self, x: Tensor, latent: Tensor, index: SparseIndex, rate: int) -> None:
        keys = _compressed(x, index.head_dim, 2, rate)
        query = latent.linear("query", index.heads * index.head_dim)
        query.product(
            "scores",
            keys,
            rows=index.heads,
            inner=index.head_dim,
            columns=x.workload.kv_tokens // rate,
            count=x.rows,
            split=None,
        )
        x.linear("head_weights", index.heads, use="router")

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the window's keys, and the entries so far; not what waits to be one."""
        kept = batch * minimum(tokens, self.window - 1) * self.head_dim
        found = [CacheTensor("key", kept, heads=1)]
        if self.rate is not None:
            entries = batch * (tokens // self.rate)
            found.append(CacheTensor("compressed", entries * self.head_dim, heads=1))
            if self.index is not None:
                found.append(CacheTensor("index_key", entries * self.index.head_dim, heads=1))
        return tuple(found)


def _compressed(x: Tensor, width: Number, series: int, rate: int) -> Tensor:
    """Record the gated sums of `rate` positions each: `width` values, of so many series."""
    made = x.linear("key_value", series * width)
    gate = x.linear("gate", series * width).learned("position_bias", (rate, series * width))
    pooled = made.elementwise("pooled", gate, width=width)
    entries = pooled.beside(pooled.name, x.rows // rate, width)
    return entries.norm("norm", RMS)
