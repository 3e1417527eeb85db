"""Self-attention with multi-head, grouped or single keys and values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

from costsim.algebra import Number, exact_div, minimum
from costsim.architectures.layers.norm import HeadNorm, NormStyle
from costsim.architectures.operators import (
    Attention,
    Columns,
    Elementwise,
    Held,
    Linear,
    Operator,
    Rotary,
)
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfAttention:
    """Projections to queries, keys and values, attention, and the projection back.

    `head_dim` stands apart from hidden/heads, and values may be of another width. `window` limits
    how far back a position sees. `fused_projection` models hold the three projections in one
    matrix. `keys_as_values` ones project keys alone; with `borrowed` keys and values, those of an
    earlier layer, there is neither projection nor cache. A `gate` scales the context by a sigmoid
    of the input, each value or each head. `differential` attention subtracts half of the heads from
    the others, and scores once for each half of the values (Differential Transformer).
    """

    heads: Number
    kv_heads: Number
    head_dim: Number
    value_dim: Number | None = None
    bias: bool = False  # of queries, keys and values
    key_bias: bool = True  # whether keys have it too
    output_bias: bool = False
    fused_projection: bool = False
    float32_softmax: bool = True  # whatever the format computed in
    rotary: bool = False
    query_key_norm: HeadNorm | None = None
    context_norm: NormStyle | None = None
    sinks: bool = False
    gate: Literal["values", "heads"] | None = None
    gate_bias: bool = False  # one a head
    gate_of_queries: bool = False  # projected with queries, and so with their biases
    differential: bool = False
    keys_as_values: bool = False
    borrowed: bool = False
    cached_for_each_head: bool = False  # by the reference code, though groups of heads share them
    causal: bool = True
    window: Number | None = None
    dropout: bool = False

    @property
    def values(self) -> Number:
        """Width of a head's values."""
        return self.head_dim if self.value_dim is None else self.value_dim

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows = workload.rows
        found: list[Operator] = [
            Linear(
                name="attention.query_key_value",
                source=source,
                rows=rows,
                inputs=hidden,
                columns=self._columns(),
                bias=self.bias,
                separate=not self.fused_projection,
                split="column",
            )
        ]
        rotated = self.heads * self.head_dim
        if self.query_key_norm is not None:
            name = "attention.query"
            found.append(self._norm(name, rows, self.heads))
        if not self.borrowed:
            rotated = rotated + self.kv_heads * self.head_dim
            if self.query_key_norm is not None:
                found.append(self._norm("attention.key", rows, self.kv_heads))
        if self.rotary:
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
                value_dim=self.values,
                causal=self.causal,
                window=self.window,
                dropout=self.dropout,
                float32_softmax=self.float32_softmax,
                sinks=self.sinks,
                passes=2 if self.differential else 1,
            )
        )
        context, width = "attention.context", self.heads * self.values
        if self.differential:
            found.append(
                Elementwise(
                    name="attention.difference",
                    rows=rows,
                    read=2 * width,
                    written=width,
                    holds=(Held(context, 2 * width),),
                    scalars=4 * self.head_dim,  # whose products weigh the heads to subtract
                    split="columns",
                )
            )
            context = "attention.difference"
        if self.gate is not None:
            found.extend(
                gated_context(self, rows, hidden, source, self.gate_of_queries and self.bias)
            )
            context = "attention.gated"
        if self.context_norm is not None:
            norm = self.context_norm.operator("attention.context_norm", context, rows, width)
            found.append(replace(norm, split="columns"))
            context = norm.name
        found.append(
            Linear.of(
                "attention.output",
                context,
                rows,
                width,
                hidden,
                bias=self.output_bias,
                split="row",
            )
        )
        return tuple(found), "attention.output"

    def _columns(self) -> tuple[Columns, ...]:
        queries = Columns(self.heads * self.head_dim, self.heads)
        if self.borrowed:
            return (queries,)
        keys = Columns(self.kv_heads * self.head_dim, self.kv_heads, biased=self.key_bias)
        if self.keys_as_values:
            return (queries, keys)
        return (queries, keys, Columns(self.kv_heads * self.values, self.kv_heads))

    def _norm(self, name: str, rows: Number, heads: Number) -> Operator:
        assert self.query_key_norm is not None
        return self.query_key_norm.operator(
            f"{name}_norm", f"{name}_projection", rows, heads, self.head_dim
        )

    def _context(self, workload: Workload) -> Number:
        """Return how many positions are scored: of those in a cache, as many as a window keeps."""
        if self.window is None or not workload.generates:
            return workload.kv_tokens
        return minimum(workload.kv_tokens, self.window - 1 + workload.tokens)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return keys and values of `tokens` positions.

        A window keeps one position fewer than its width: the next token is the last in its view.
        """
        if self.borrowed:
            return ()
        held = tokens if self.window is None else minimum(tokens, self.window - 1)
        heads = batch * held * self.kv_heads
        copies = exact_div(self.heads, self.kv_heads) if self.cached_for_each_head else 1
        return (
            CacheTensor("key", heads * self.head_dim, copies=copies, heads=self.kv_heads),
            CacheTensor("value", heads * self.values, copies=copies, heads=self.kv_heads),
        )


class Gated(Protocol):
    """Attention whose context may be gated."""

    @property
    def heads(self) -> Number: ...

    @property
    def values(self) -> Number: ...

    @property
    def gate(self) -> Literal["values", "heads"] | None: ...

    @property
    def gate_bias(self) -> bool: ...


def gated_context(
    mixer: Gated, rows: Number, hidden: Number, source: str, bias: bool = False
) -> tuple[Operator, ...]:
    """Return the projection of `source` to a gate, and the product with the context."""
    width = mixer.heads * mixer.values
    gates = width if mixer.gate == "values" else mixer.heads
    return (
        Linear(
            name="attention.gate",
            source=source,
            rows=rows,
            inputs=hidden,
            columns=(Columns(gates, mixer.heads),),
            bias=bias,
            split="column",
        ),
        Elementwise(
            name="attention.gated",
            rows=rows,
            read=width + gates,
            written=width,
            holds=(Held("attention.gate", gates), Held("attention.context", width)),
            scalars=mixer.heads if mixer.gate_bias else 0,
            split="columns",
        ),
    )
