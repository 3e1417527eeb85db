"""A Fourier transform in place of attention."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.architectures.layers.recording import Tensor


@dataclass(frozen=True, slots=True)
class Fourier:
    """A Fourier transform over positions and width in place of attention (FNet): no weights.

    What it computes are no products of matrices, so it is counted by what it moves.
    """

    def build(self, x: Tensor) -> Tensor:
        """Record one pass: real numbers in, complex ones between the two axes, real ones out."""
        made = x.elementwise("fourier", width=3 * x.width, read=3 * x.width, keeps=())
        return made.called("fourier", x.width)
