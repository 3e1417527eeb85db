"""Multi-head latent attention (DeepSeek-V2 and later): compressed queries, keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from costsim.algebra import Number, minimum
from costsim.architectures.layers.norm import RMS
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.layers.self_attention import gated
from costsim.architectures.operators import Columns, Indexer, LatentAttention, LatentExpansion
from costsim.architectures.tensors import CacheTensor, Storage
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseIndex:
    """An indexer that picks `selected` positions of the context by `heads` of `head_dim`."""

    heads: Number
    head_dim: Number
    selected: Number
    float32_keys: bool = False  # in the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSelfAttention:
    """Keys and values from a latent of `latent_dim`; queries perhaps from one too.

    A head's queries and keys are `key_dim` of the latent and `rotary_dim` that carry the position,
    the same for all heads in keys. `index` is an indexer of this layer's own; `selected` alone says
    that it uses an earlier layer's choice.
    """

    heads: Number
    latent_dim: Number
    query_latent_dim: Number | None
    key_dim: Number
    rotary_dim: Number
    value_dim: Number
    bias: bool = False  # of the projections from and to the residual stream
    rotary_norm: bool = False  # of the keys' rotary part
    index: SparseIndex | None = None
    selected: Number | None = None
    sinks: bool = False
    gate: Literal["values", "heads"] | None = None
    gate_bias: bool = False
    window: Number | None = None
    dropout: bool = False

    @property
    def values(self) -> Number:
        """Width of a head's values."""
        return self.value_dim

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        hidden, heads, bias = x.width, self.heads, self.bias
        x = queries = x.within("attention")
        if self.query_latent_dim is not None:
            compressed = x.linear("query_latent", self.query_latent_dim, bias=bias)
            queries = compressed.norm("query_latent_norm", RMS)
        query_dim = self.key_dim + self.rotary_dim
        query = queries.linear("query", Columns(heads * query_dim, heads), split="column")
        latent = x.linear("latent", self.latent_dim + self.rotary_dim, bias=bias)
        compressed = latent.norm("latent_norm", RMS, width=self.latent_dim)
        position = latent
        if self.rotary_norm:
            position = latent.norm("rotary_norm", RMS, width=self.rotary_dim)
        query = query.rotary((heads + 1) * self.rotary_dim, self.rotary_dim, position)
        context = self._context(x.workload)
        expanded = self._expanded(compressed, context)
        picked = self._picked(x, queries, context)
        output = query.attend(
            heads,
            query_dim,
            *(expanded, expanded, *picked),  # keys, values, the choice of positions
            kind=LatentAttention,
            value_dim=self.value_dim,
            context=context,
            latent_dim=self.latent_dim,
            rotary_dim=self.rotary_dim,
            selected=self.selected if self.index is None else self.index.selected,
            window=self.window,
            dropout=self.dropout,
            sinks=self.sinks,
        )
        if self.gate is not None:
            output = gated(self, x, output)
        return output.linear("output", hidden, bias=bias, split="row")

    def _expanded(self, latent: Tensor, context: Number) -> Tensor:
        """Record the expansion of latents to keys and values of each head."""
        workload = latent.workload
        # A cache holds latents, so that generating expands those of the whole context again.
        expanded = workload.batch * context if workload.generates else latent.rows
        return latent.make(
            LatentExpansion,
            "expansion",
            self.heads * (self.key_dim + self.value_dim),
            source=latent.name,
            rows=latent.rows,
            expanded_rows=expanded,
            latent_dim=self.latent_dim,
            heads=self.heads,
            key_dim=self.key_dim,
            value_dim=self.value_dim,
        )

    def _picked(self, x: Tensor, queries: Tensor, context: Number) -> tuple[Tensor, ...]:
        """Record the choice of positions, where this layer makes one."""
        if self.index is None:
            return ()
        workload = x.workload
        picked = x.make(
            Indexer,
            "indexer",
            self.index.selected,
            queries,
            source=x.name,
            rows=x.rows,
            batch=workload.batch,
            tokens=workload.tokens,
            context=context,
            hidden=x.width,
            query_inputs=queries.width,
            heads=self.index.heads,
            head_dim=self.index.head_dim,
        )
        return (picked,)

    def _context(self, workload: Workload) -> Number:
        if self.window is None or workload.context is None:
            return workload.kv_tokens
        return minimum(workload.context, self.window - 1 + workload.tokens)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the latents and rotary keys of `tokens` positions, and an indexer's keys."""
        held = batch * (tokens if self.window is None else minimum(tokens, self.window - 1))
        found = (
            CacheTensor("latent", held * self.latent_dim, heads=1),
            CacheTensor("rotary_key", held * self.rotary_dim, heads=1),
        )
        if self.index is None:
            return found
        storage: Storage = "float32" if self.index.float32_keys else "compute"
        return (*found, CacheTensor("index_key", held * self.index.head_dim, storage, heads=1))
