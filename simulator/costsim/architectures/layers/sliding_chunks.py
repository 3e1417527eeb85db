"""Attention within a window, computed in overlapping chunks (Longformer)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, ceil_div
from costsim.architectures.operators import Columns, Linear, Operator
from costsim.architectures.operators.products import Product
from costsim.architectures.operators.wrapping import Idle
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidingChunks:
    """Self-attention in which a position sees half a `window` either way.

    Scores are products of chunks of two halves, each overlapping the next by one; values are
    weighted by three halves at a time. Positions that see all others have projections of their own,
    which a text without any leaves idle.
    """

    heads: Number
    head_dim: Number
    window: Number

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows, width = workload.rows, self.heads * self.head_dim
        half = self.window // 2
        chunks = 2 * ceil_div(workload.tokens, self.window)  # of half a window
        count = workload.batch * self.heads

        def projections(name: str) -> Linear:
            return Linear(
                name=name,
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(Columns(width, self.heads),) * 3,
                bias=True,
                separate=True,
                split="column",
            )

        found: tuple[Operator, ...] = (
            projections("attention.query_key_value"),
            Idle.around(projections("attention.global_query_key_value")),
            Product(
                name="attention.scores",
                left="attention.query",
                right="attention.key",
                rows=2 * half,
                inner=self.head_dim,
                columns=2 * half,
                count=count * (chunks - 1),
                split="heads",
            ),
            Product(
                name="attention.context",
                left="attention.probabilities",
                right="attention.value",
                rows=half,
                inner=3 * half,
                columns=self.head_dim,
                count=count * chunks,
                split="heads",
            ),
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
