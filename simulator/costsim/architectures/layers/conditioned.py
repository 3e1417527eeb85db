"""A sub-layer whose input is scaled by what a condition common to all positions says."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.layer import SubLayer
from costsim.architectures.layers.recording import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioned:
    """`inner` of a stream times scales, which a network of `rank` makes of one condition."""

    inner: SubLayer
    rank: Number

    def build(self, x: Tensor) -> Tensor:
        """Record the condition's network, the product with it, and the sub-layer."""
        condition = x.beside("condition", 1, x.width).within("condition")
        low = condition.linear("down", self.rank).elementwise("activation", function="gelu")
        scales = low.linear("up", x.width)
        scaled = x.within("condition").elementwise("scaled", scales, keeps=(x,))
        return self.inner.build(scaled.within(""))
