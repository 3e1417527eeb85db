"""A Fourier transform in place of attention."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.operators import Elementwise, Operator
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True)
class Fourier:
    """A Fourier transform over positions and width in place of attention (FNet): no weights.

    What it computes are no products of matrices, so it is counted by what it moves.
    """

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return one pass: real numbers in, complex ones between the two axes, real ones out."""
        transform = Elementwise(
            name="fourier", rows=workload.rows, read=3 * hidden, written=3 * hidden
        )
        return (transform,), transform.name
