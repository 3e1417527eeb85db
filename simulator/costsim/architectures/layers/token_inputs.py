"""Embeddings of the tokens that each layer gets anew (Gemma 3n and 4)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.norm import RMS
from costsim.architectures.layers.recording import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTable:
    """A table of `width` values a token for each of `layers`, added to a projection of `source`."""

    vocabulary: Number
    width: Number
    layers: Number

    def build(self, x: Tensor) -> Tensor:
        """Record what makes every layer's input."""
        at = x.within("embedding")
        total = self.layers * self.width
        at.look_up("inputs", self.vocabulary, total)
        projected = at.linear("inputs_projection", total)
        each = projected.beside(projected.name, x.rows * self.layers, self.width)
        return each.norm("inputs_norm", RMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInput:
    """A layer's own input, gated by the stream and projected to it."""

    width: Number
    activation: str = "gelu_pytorch_tanh"

    def build(self, x: Tensor) -> Tensor:
        """Record what is added to the stream."""
        gate = x.within("token_input").linear("gate", self.width)
        values = gate.beside("token_input.values", x.rows, self.width)
        return gate.elementwise("gated", values).linear("output", x.width)
