"""Self-attention with multi-head, grouped or single keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from costsim.algebra import Number, exact_div, minimum
from costsim.architectures.layers.norm import HeadNorm, NormStyle
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns
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
    the others, and scores once for each half of the values (Differential Transformer). `capped`
    scores pass through a tanh (Gemma 2).
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
    capped: bool = False
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
    def selected(self) -> Number | None:
        """Positions that are picked for each query; None where all are attended to."""
        return None

    @property
    def values(self) -> Number:
        """Width of a head's values."""
        return self.head_dim if self.value_dim is None else self.value_dim

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        return self.attended(x).linear("output", x.width, bias=self.output_bias, split="row")

    def attended(self, x: Tensor) -> Tensor:
        """Record all but the projection back."""
        x = x.within("attention")
        return self.over(x, *self.projected(x))

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Record the projections, and return queries, keys and values."""
        columns = self.columns()
        made = x.linear(
            "query_key_value",
            *columns,
            bias=self.bias,
            separate=not self.fused_projection,
            split="column",
        )
        parts = [
            made.called(f"{name}_projection", run.outputs)
            for name, run in zip(("query", "key", "value"), columns, strict=False)
        ]
        # Borrowed keys and values come from an earlier layer; keys may serve as values.
        key = parts[min(1, len(parts) - 1)]
        return parts[0], key, parts[-1]

    def over(self, x: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Record norms of queries and keys, attention to them, and what becomes of the context."""
        rotated = self.heads * self.head_dim
        if self.query_key_norm is not None:
            query = query.head_norm("query", self.query_key_norm, self.heads, self.head_dim)
        if not self.borrowed:
            rotated = rotated + self.kv_heads * self.head_dim
            if self.query_key_norm is not None:
                key = key.head_norm("key", self.query_key_norm, self.kv_heads, self.head_dim)
        if self.rotary:
            query = key = query.rotary(rotated, self.head_dim, key)
        context = query.attend(
            self.heads,
            self.head_dim,
            key,
            value,
            kv_heads=self.kv_heads,
            value_dim=self.values,
            context=self._context(x.workload),
            causal=self.causal,
            window=self.window,
            dropout=self.dropout,
            float32_softmax=self.float32_softmax,
            capped=self.capped,
            sinks=self.sinks,
            passes=2 if self.differential else 1,
            selected=self.selected,
        )
        width = self.heads * self.values
        if self.differential:
            both = context.beside(context.name, context.rows, 2 * width)
            # Products of four vectors weigh the heads to subtract.
            context = both.elementwise(
                "difference", width=width, scalars=4 * self.head_dim, split="columns"
            )
        if self.gate is not None:
            context = gated(self, x, context, self.gate_of_queries and self.bias)
        if self.context_norm is not None:
            context = context.norm("context_norm", self.context_norm, split="columns")
        return context

    def columns(self) -> tuple[Columns, ...]:
        """Return what is projected to: queries, and keys and values where they are not borrowed."""
        queries = Columns(self.heads * self.head_dim, self.heads)
        if self.borrowed:
            return (queries,)
        keys = Columns(self.kv_heads * self.head_dim, self.kv_heads, biased=self.key_bias)
        if self.keys_as_values:
            return (queries, keys)
        return (queries, keys, Columns(self.kv_heads * self.values, self.kv_heads))

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
    def selected(self) -> Number | None:
        """Positions that are picked for each query; None where all are attended to."""
        return None

    @property
    def values(self) -> Number: ...

    @property
    def gate(self) -> Literal["values", "heads"] | None: ...

    @property
    def gate_bias(self) -> bool: ...


def gated(mixer: Gated, x: Tensor, context: Tensor, bias: bool = False) -> Tensor:
    """Record the projection of `x` to a gate, and the product with the context."""
    width = mixer.heads * mixer.values
    gates = Columns(width if mixer.gate == "values" else mixer.heads, mixer.heads)
    gate = x.linear("gate", gates, bias=bias, split="column")
    # What attention made is kept, whatever became of it since.
    made = context.beside("attention.context", x.rows, width)
    return gate.elementwise(
        "gated",
        context,
        width=width,
        keeps=(gate, made),
        scalars=mixer.heads if mixer.gate_bias else 0,
        split="columns",
    )
