"""Multi-head latent attention (DeepSeek-V2 and later): compressed queries, keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from costsim.algebra import Number, minimum
from costsim.architectures.layers.norm import RMS
from costsim.architectures.layers.self_attention import gated_context
from costsim.architectures.operators import (
    Columns,
    Indexer,
    LatentAttention,
    LatentExpansion,
    Linear,
    Operator,
    Rotary,
)
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

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows, heads = workload.rows, self.heads
        query_dim = self.key_dim + self.rotary_dim
        found: list[Operator] = []
        queries_from, query_inputs = source, hidden
        if self.query_latent_dim is not None:
            query_inputs, latent = self.query_latent_dim, "attention.query_latent"
            found.append(
                Linear.of(latent, source, rows, hidden, query_inputs, bias=self.bias),
            )
            queries_from = f"{latent}_norm"
            found.append(RMS.operator(queries_from, latent, rows, query_inputs))
        found.append(
            Linear(
                name="attention.query",
                source=queries_from,
                rows=rows,
                inputs=query_inputs,
                columns=(Columns(heads * query_dim, heads),),
                split="column",
            )
        )
        latent, width = "attention.latent", self.latent_dim + self.rotary_dim
        found.append(Linear.of(latent, source, rows, hidden, width, bias=self.bias))
        found.append(RMS.operator(f"{latent}_norm", latent, rows, self.latent_dim))
        if self.rotary_norm:
            found.append(RMS.operator("attention.rotary_norm", latent, rows, self.rotary_dim))
        rotated = (heads + 1) * self.rotary_dim
        found.append(
            Rotary(
                name="attention.rotary",
                rows=rows,
                tokens=workload.tokens,
                dim=self.rotary_dim,
                read=rotated,
                written=rotated,
                split="columns",
            )
        )
        context = self._context(workload)
        # A cache holds latents, so that generating expands those of the whole context again.
        expanded = workload.batch * context if workload.generates else rows
        found.append(
            LatentExpansion(
                name="attention.expansion",
                source=f"{latent}_norm",
                rows=rows,
                expanded_rows=expanded,
                latent_dim=self.latent_dim,
                heads=heads,
                key_dim=self.key_dim,
                value_dim=self.value_dim,
            )
        )
        if self.index is not None:
            found.append(
                Indexer(
                    name="attention.indexer",
                    source=source,
                    rows=rows,
                    batch=workload.batch,
                    tokens=workload.tokens,
                    context=context,
                    hidden=hidden,
                    query_inputs=query_inputs,
                    heads=self.index.heads,
                    head_dim=self.index.head_dim,
                )
            )
        found.append(
            LatentAttention(
                name="attention.context",
                batch=workload.batch,
                query_heads=heads,
                kv_heads=heads,
                tokens=workload.tokens,
                context=context,
                head_dim=query_dim,
                value_dim=self.value_dim,
                latent_dim=self.latent_dim,
                rotary_dim=self.rotary_dim,
                selected=self.selected if self.index is None else self.index.selected,
                window=self.window,
                dropout=self.dropout,
                sinks=self.sinks,
            )
        )
        output = "attention.context"
        if self.gate is not None:
            found.extend(gated_context(self, rows, hidden, source))
            output = "attention.gated"
        found.append(
            Linear.of(
                "attention.output",
                output,
                rows,
                heads * self.value_dim,
                hidden,
                bias=self.bias,
                split="row",
            )
        )
        return tuple(found), "attention.output"

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
