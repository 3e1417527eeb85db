"""A dense layer with activation and norm, as stands before the heads of BERT's descendants."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """h → h, activation, norm."""

    norm: NormStyle
    bias: bool = False
    activation: str = "gelu"

    def build(self, x: Tensor) -> Tensor:
        """Record dense layer, activation and norm."""
        dense = x.within("transform").linear("dense", x.width, bias=self.bias)
        return dense.elementwise("activation", function=self.activation).norm("norm", self.norm)
