"""MobileBERT's layer: into a bottleneck, attention and several networks there, and out again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from costsim.algebra import Number
from costsim.architectures.layers.layer import added
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Tensor

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

    def build(self, x: Tensor) -> Tensor:
        """Record one layer."""
        inner = self.inner
        entered = x.linear("entry", inner, bias=True).norm("entry_norm", NORM)
        queries = {"wide": x, "narrow": entered}.get(self.queries)
        if queries is None:
            queries = x.linear("query_entry", inner, bias=True).norm("query_entry_norm", NORM)
        values = entered if self.queries == "narrow" else x
        query, key, value = (
            read.within("attention").linear(name, inner, bias=True)
            for name, read in (("query", queries), ("key", queries), ("value", values))
        )
        head_dim = inner // self.heads
        context = query.attend(self.heads, head_dim, key, value, causal=False, dropout=self.dropout)
        stream = self._added("mixer", context.linear("output", inner, bias=True), entered)
        for index in range(self.networks):
            name = f"feed_forward.{index}"
            up = stream.within(name).linear("up", self.width, bias=True)
            active = up.elementwise("activation", function=self.activation)
            stream = self._added(name, active.linear("down", inner, bias=True), stream)
        return self._added("exit", stream.linear("exit", x.width, bias=True), x)

    def _added(self, name: str, output: Tensor, stream: Tensor) -> Tensor:
        return added(name, output, stream, None, dropout=False).norm(f"{name}_norm", NORM)
