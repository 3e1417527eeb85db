"""MobileBERT's layer: into a bottleneck, attention and several networks there, and out again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.unmasked import unmasked
from costsim.architectures.operators import Elementwise, Held, Linear, Operator, Residual
from costsim.architectures.workload import Workload

NORM = NormStyle(kind="layer")  # or a scale and a shift alone, which has the same parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """Attention and `networks` feed-forward networks at a width of `inner`.

    Queries and keys read the stream as it is (`wide`), what enters the bottleneck (`narrow`), or a
    second way into it (`own`); values read the stream, but for `narrow`.
    """

    heads: Number
    inner: Number
    width: Number
    networks: int
    queries: Literal["wide", "narrow", "own"] = "own"
    activation: str = "relu"
    dropout: bool = False

    def operators(self, workload: Workload, hidden: Number) -> tuple[Operator, ...]:
        """Return the operators of one layer; its input is called `input`."""
        rows, inner = workload.rows, self.inner
        found: list[Operator] = []

        def dense(name: str, source: str, inputs: Number, outputs: Number) -> str:
            found.append(Linear.of(name, source, rows, inputs, outputs, bias=True))
            return name

        def normed(name: str, source: str, width: Number) -> str:
            found.append(NORM.operator(name, source, rows, width))
            return name

        def added(name: str, width: Number) -> str:
            found.append(Residual(name=f"{name}_residual", rows=rows, width=width))
            return normed(f"{name}_norm", f"{name}_residual", width)

        entered = normed("entry_norm", dense("entry", "input", hidden, inner), inner)
        queries, query_width = "input", hidden
        if self.queries == "narrow":
            queries, query_width = entered, inner
        elif self.queries == "own":
            queries = normed(
                "query_entry_norm", dense("query_entry", "input", hidden, inner), inner
            )
            query_width = inner
        values, value_width = (entered, inner) if self.queries == "narrow" else ("input", hidden)
        dense("attention.query", queries, query_width, inner)
        dense("attention.key", queries, query_width, inner)
        dense("attention.value", values, value_width, inner)
        found.append(unmasked(workload, self.heads, inner // self.heads, self.dropout))
        dense("attention.output", "attention.context", inner, inner)
        stream = added("mixer", inner)
        for index in range(self.networks):
            up = dense(f"feed_forward.{index}.up", stream, inner, self.width)
            activation = f"feed_forward.{index}.activation"
            found.append(
                Elementwise(
                    name=activation,
                    rows=rows,
                    read=self.width,
                    written=self.width,
                    holds=(Held(up, self.width),),
                    function=self.activation,
                )
            )
            dense(f"feed_forward.{index}.down", activation, self.width, inner)
            stream = added(f"feed_forward.{index}", inner)
        dense("exit", stream, inner, hidden)
        added("exit", hidden)
        return tuple(found)
