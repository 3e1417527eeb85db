"""Attention with a term for each distance, over sequences that get shorter."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number, ceil_div
from costsim.architectures.layers.branches import Branches
from costsim.architectures.layers.unmasked import unmasked
from costsim.architectures.operators import Columns, Learned, Linear, Operator
from costsim.architectures.operators.products import Product
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedAttention:
    """Attention with a term for each distance and one for the segment (Funnel, Transformer-XL).

    Queries may be fewer than keys, where a stack shortens what it reads: those are `context`.
    """

    heads: Number
    head_dim: Number
    dropout: bool = False

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows, width = workload.rows, self.heads * self.head_dim
        keys = workload.kv_tokens
        distances = 2 * keys
        per_head = (self.heads, self.head_dim)
        found: tuple[Operator, ...] = (
            Linear.of("attention.query", source, rows, hidden, width, split="column"),
            Linear(
                name="attention.key_value",
                source=f"{source}.longer",
                rows=workload.batch * keys,
                inputs=hidden,
                columns=(Columns(width, self.heads),) * 2,
                bias=True,
                separate=True,
                split="column",
            ),
            Learned(name="attention.biases", shapes=(per_head,) * 3, elements=3 * rows * width),
            # Distances are sinusoids, which need no gradient.
            Linear.of(
                "attention.distance",
                "distances",
                distances,
                hidden,
                width,
                split="column",
                leaf=True,
            ),
            Product(
                name="attention.distance_scores",
                left="attention.context.query",
                right="attention.distance",
                rows=workload.tokens,
                inner=self.head_dim,
                columns=distances,
                count=workload.batch * self.heads,
                split="heads",
            ),
            Learned(name="attention.segments", shapes=((2, *per_head),)),
            Product(
                name="attention.segment_scores",
                left="attention.context.query",
                right="attention.segments",
                rows=workload.tokens,
                inner=self.head_dim,
                columns=2,
                count=workload.batch * self.heads,
                split="heads",
            ),
            unmasked(workload, self.heads, self.head_dim, self.dropout),
            Linear.of(
                "attention.output",
                "attention.context",
                rows,
                width,
                hidden,
                bias=True,
                split="row",
            ),
        )
        return found, "attention.output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortened:
    """A layer over a sequence that was halved `times`, each time rounded up.

    A layer that `shortens` is the first of its length: its queries are as few, its keys are those
    of the layer below.
    """

    layer: Branches
    times: int
    shortens: bool = False

    def operators(self, workload: Workload, hidden: Number) -> tuple[Operator, ...]:
        """Return the operators of the layer; its input is called `input`."""
        before = workload.tokens
        for _ in range(self.times - 1):
            before = ceil_div(before, 2)
        tokens = ceil_div(before, 2) if self.times else before
        context = before if self.shortens else tokens
        return self.layer.operators(replace(workload, tokens=tokens, context=context), hidden)
