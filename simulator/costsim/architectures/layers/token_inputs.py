"""Embeddings of the tokens that each layer gets anew (Gemma 3n and 4)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.norm import RMS
from costsim.architectures.operators import Elementwise, Embedding, Held, Linear, Operator
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTable:
    """A table of `width` values a token for each of `layers`, added to a projection of `source`."""

    vocabulary: Number
    width: Number
    layers: Number

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that make every layer's input, and its name."""
        rows, total = workload.rows, self.layers * self.width
        projection = "embedding.inputs_projection"
        norm = RMS.operator("embedding.inputs_norm", projection, rows * self.layers, self.width)
        table = Embedding(name="embedding.inputs", rows=rows, entries=self.vocabulary, width=total)
        return (table, Linear.of(projection, source, rows, hidden, total), norm), norm.name


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInput:
    """A layer's own input, gated by the stream and projected to it."""

    width: Number
    activation: str = "gelu_pytorch_tanh"

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into what is added to it, and its name."""
        rows, gate = workload.rows, "token_input.gate"
        gated = Elementwise(
            name="token_input.gated",
            rows=rows,
            read=2 * self.width,
            written=self.width,
            holds=(Held(gate, self.width), Held("token_input.values", self.width)),
        )
        output = Linear.of("token_input.output", gated.name, rows, self.width, hidden)
        return (Linear.of(gate, source, rows, hidden, self.width), gated, output), output.name
