"""Attention proper: softmax(QKᵀ/√d)V between the projections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from costsim.algebra import Number, exact_div, maximum, minimum, where
from costsim.architectures.operators import eager, eager_work
from costsim.architectures.operators.base import Operator, Role
from costsim.architectures.operators.streaming import Rotary
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, ScaledDotProduct, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention(Operator):
    """Scaled dot-product attention of `query_heads` over `kv_heads` (fewer under GQA and MQA).

    `float32_softmax` models ask for their softmax in fp32 whatever the format they compute in;
    `capped` scores pass through c · tanh(x / c) where they are written;
    `sinks` are a trained score of each head that takes its share of every softmax (gpt-oss).
    """

    batch: Number
    query_heads: Number
    kv_heads: Number
    tokens: Number
    context: Number
    head_dim: Number
    value_dim: Number
    causal: bool = True
    window: Number | None = None
    dropout: bool = False
    float32_softmax: bool = True
    capped: bool = False
    pieces: Number = 1  # that keys and values come in, from as many context-parallel ranks
    gathered: Number = 1  # ranks whose positions are here, in exchange for heads
    documents: Number = 1  # packed in a sequence, whose ends a fused kernel does not attend across
    sinks: bool = False
    selected: Number | None = None  # positions that are picked for each query; the rest is masked
    passes: int = 1  # times that scores are computed, where values come in as many parts

    def weights(self) -> tuple[Weight, ...]:
        if not self.sinks:
            return ()
        return (Weight(f"{self.name}.sinks", self.query_heads * self.gathered, matrix=False),)

    @property
    def role(self) -> Role:
        return "attention"

    @property
    def scores(self) -> Number:
        """Entries of the score matrix, unmasked."""
        return self.batch * self.query_heads * self.tokens * self.context

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        batch, context = self.batch, self.context
        if self.window is None:
            # A rank meets every piece of keys and values once. Positions are dealt so that each
            # rank sees half of a causal mask, as it would of so many short sequences.
            batch, context = batch * self.pieces, exact_div(context, self.pieces)
        tokens, window = self.tokens, self.window
        if self.selected is not None and execution.style == "fused":
            if self.causal:
                window = self.selected  # as many pairs, wherever they lie
            else:
                context = minimum(context, self.selected)
        if execution.attention != "unfused" and not _is_one(self.documents):
            batch, tokens = batch * self.documents, tokens / self.documents
            context = context / self.documents
            window = None if window is None else minimum(window, context)
        work = ScaledDotProduct(
            batch=batch,
            query_heads=self.query_heads,
            kv_heads=self.kv_heads,
            query_tokens=tokens,
            kv_tokens=context,
            head_dim=self.head_dim,
            value_dim=self.value_dim,
            causal=self.causal,
            window=window,
            direction=direction,
        )
        added = (
            eager_work.attention(self, direction, execution) if execution.style == "eager" else ()
        )
        return (*added, *(work,) * self.passes)

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        if execution.style == "eager":
            return eager.attention(self, execution)
        return self.held(execution)

    def shared(self, execution: Execution, *, recomputed: bool) -> tuple[Activation, ...]:
        return eager.mask(self, execution) if recomputed and execution.style == "eager" else ()

    def inputs(self) -> tuple[Activation, ...]:
        """Queries, keys and values as they come in; a context-parallel rank has its own."""
        rows = self.batch * self.tokens
        return (
            Activation(f"{self.name}.query", rows * self.query_heads * self.head_dim),
            Activation(f"{self.name}.key", rows * self.kv_heads * self.head_dim),
            Activation(f"{self.name}.value", rows * self.kv_heads * self.value_dim),
        )

    def outputs(self) -> tuple[Activation, ...]:
        """The context; where ranks exchange heads for positions, also as attention made it."""
        elements = self.batch * self.tokens * self.query_heads * self.value_dim
        context = Activation(self.name, elements)
        if _is_one(self.gathered):
            return (context,)
        return context, Activation(f"{self.name}.heads", where(self.gathered > 1, elements, 0))

    def held(self, execution: Execution) -> tuple[Activation, ...]:
        """Tensors that a fused kernel, or Megatron-LM's sequence of kernels, keeps."""
        rows, inputs = self.batch * self.tokens, self.inputs()
        if execution.attention != "unfused":
            # The output is kept (also by the projection that reads it), and the log-sum-exp of
            # each row of scores in fp32.
            return (
                *inputs,
                *self.outputs(),
                Activation(f"{self.name}.logsumexp", rows * self.query_heads, "float32"),
            )
        softmax = Activation(f"{self.name}.softmax", self.scores, inner=True)
        if not (execution.dropout and self.dropout):
            return (*inputs, softmax)
        return (
            *inputs,
            softmax,
            Activation(f"{self.name}.dropout_mask", self.scores, "mask", inner=True),
            Activation(f"{self.name}.dropout", self.scores, inner=True),
        )

    def sources(self, made: Mapping[str, Operator]) -> tuple[Operator | None, ...]:
        """Return what makes queries, keys and values of those `made`, before they are rotated.

        One tensor may stand for several of them; None is what comes from elsewhere.
        """
        return tuple(_source(self, place, made) for place in range(len(self.inputs())))

    def shard(self, shard: Shard) -> Attention:
        return replace(
            self,
            query_heads=exact_div(self.query_heads, shard.tp * shard.cp_heads),
            kv_heads=maximum(exact_div(self.kv_heads, shard.tp * shard.cp_heads), 1),
            tokens=self.tokens * shard.cp_heads,
            pieces=shard.cp,
            gathered=shard.cp_heads,
        )


def _source(operator: Operator, place: int, made: Mapping[str, Operator]) -> Operator | None:
    if not operator.reads:
        return None
    read = made.get(operator.reads[min(place, len(operator.reads) - 1)])
    return _source(read, place, made) if isinstance(read, Rotary) else read


def _is_one(number: Number) -> bool:
    return type(number) is int and number == 1
