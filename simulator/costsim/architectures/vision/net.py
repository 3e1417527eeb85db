"""Composing a net step by step: each step adds operators and changes the map that flows.

A family says its net as one would in a deep-learning framework: a convolution, a norm, branches
and their sum, attention. Sizes follow by themselves, in whichever numbers they come.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from costsim.algebra import Number, exact_div
from costsim.architectures.operators import (
    Attention,
    Columns,
    CrossEntropy,
    Elementwise,
    Held,
    Learned,
    Linear,
    Norm,
)
from costsim.architectures.operators.eager import FUNCTIONS
from costsim.architectures.operators.maps import Distances
from costsim.architectures.operators.wrapping import Detached
from costsim.architectures.vision.composing import MapNet
from costsim.architectures.vision.maps import Extent, Map, Step, each, fitted, scaled

__all__ = ["Extent", "Map", "Net", "Step", "each", "fitted", "scaled"]


class Net(MapNet):
    """A net of maps and of sequences, which are maps of one dimension."""

    def layer_norm(
        self, kind: Literal["layer", "rms"] = "layer", *, weight: bool = True, bias: bool = True
    ) -> None:
        """Normalize the channels of every position."""
        x = self.x
        operator = Norm(
            name=self.name("norm"),
            source=x.name,
            rows=self.batch * x.positions,
            width=x.channels,
            kind=kind,
            weight=weight,
            bias=bias and kind == "layer",
        )
        self.add(operator)
        leaf = x.leaf and not weight
        self.x = replace(x, name=operator.name, leaf=leaf, split=x.split or "sequence")

    def linear(
        self,
        outputs: Number,
        *,
        bias: bool = True,
        split: Literal["column", "row"] | None = None,
        units: Number | None = None,
        runs: int = 1,
        head: bool = False,
    ) -> None:
        """Multiply every position with a matrix, or with `runs` equal ones side by side.

        `units` is the number of equal pieces that tensor parallelism divides each into (heads).
        """
        x = self.x
        each = exact_div(outputs, runs)
        name = self.name("linear")
        self.add(
            Linear(
                name=name,
                source=x.name,
                rows=self.batch * x.positions,
                inputs=x.channels,
                columns=(Columns(each, each if units is None else units),) * runs,
                bias=bias,
                split=split,
                use="head" if head else "matrix",
                leaf=x.leaf,
            )
        )
        divided = "columns" if split == "column" else ("sequence" if x.split else None)
        self.x = Map(name, outputs, x.sizes, split=divided)

    def attention(
        self,
        heads: Number,
        head_dim: Number,
        *,
        windows: Number = 1,
        tokens: Number | None = None,
        context: Number | None = None,
        value_dim: Number | None = None,
        causal: bool = False,
    ) -> None:
        """Attend: queries, keys and values are what was projected.

        Args:
            heads: of queries, keys and values alike.
            head_dim: width of a query and of a key.
            windows: parts of each image that are attended to apart.
            tokens: queries of each part; all positions if not given.
            context: keys of each part; as many as `tokens` if not given.
            value_dim: width of a value; `head_dim` if not given.
            causal: whether positions see only those before them.
        """
        x = self.x
        queries = x.positions if tokens is None else tokens
        name = self.name("attention")
        width = head_dim if value_dim is None else value_dim
        self.add(
            Attention(
                name=name,
                batch=self.batch * windows,
                query_heads=heads,
                kv_heads=heads,
                tokens=queries,
                context=queries if context is None else context,
                head_dim=head_dim,
                value_dim=width,
                causal=causal,
                float32_softmax=False,
            )
        )
        sizes = x.sizes if tokens is None else (windows * tokens,)
        self.x = Map(name, heads * width, sizes, split="columns")

    def feed_forward(self, width: Number, function: str = "gelu", *, bias: bool = True) -> None:
        """Widen, apply a function, and come back."""
        outputs = self.x.channels
        self.linear(width, bias=bias, split="column")
        self.activation(function)
        self.linear(outputs, bias=bias, split="row")

    def gated_feed_forward(
        self, width: Number, function: str = "silu", *, bias: bool = True
    ) -> None:
        """Widen twice by one matrix, multiply what a function makes of one half, and come back."""
        outputs = self.x.channels
        self.linear(2 * width, bias=bias, split="column", runs=2)
        x, name = self.x, self.name(function)
        self.add(
            Elementwise(
                name=name,
                rows=self.batch * x.positions,
                read=2 * width,
                written=width,
                holds=(Held(x.name, 2 * width),),
                function=function if function in FUNCTIONS else None,
                gated=True,
                split="columns",
            )
        )
        self.x = replace(x, name=name, channels=width)
        self.linear(outputs, bias=bias, split="row")

    def detached(self, build: Step) -> None:
        """Build what the loss does not depend on; the map stays as it is."""
        x, before = self.x, len(self._operators)
        build()
        self._operators[before:] = [Detached.around(op) for op in self._operators[before:]]
        self.x = x

    def learned(
        self,
        kind: str,
        *shapes: tuple[Number, ...],
        applied: bool = True,
        scales: bool = False,
        lookup: bool = False,
    ) -> None:
        """Add learned tensors to the map, multiply it with them, or place them before it.

        Some frameworks count a table of positions as an embedding (`lookup`).
        """
        x = self.x
        elements = self.batch * x.positions * x.channels if applied else 0
        name = self.name(kind)
        self.add(
            Learned(
                name=name,
                shapes=shapes,
                elements=elements,
                multiplies=x.name if scales else None,
                lookup=lookup,
            )
        )
        self.x = replace(x, name=name, leaf=False) if applied else replace(x, leaf=False)

    def self_attention(
        self,
        heads: Number,
        *,
        windows: Number = 1,
        tokens: Number | None = None,
        bias: bool = True,
        key_bias: bool = True,
        output_bias: bool = True,
        causal: bool = False,
    ) -> None:
        """Project to queries, keys and values, attend within each window, and project back.

        Keys need no bias of their own where the softmax cancels it (`key_bias`).
        """
        x, channels = self.x, self.x.channels
        joint = key_bias or not bias
        if not joint:
            self.linear(channels, bias=False, split="column", units=heads)
            self.x = x
        runs = 3 if joint else 2
        self.linear(runs * channels, bias=bias, split="column", units=heads, runs=runs)
        self.attention(
            heads, exact_div(channels, heads), windows=windows, tokens=tokens, causal=causal
        )
        self.linear(channels, bias=output_bias, split="row")

    def cross_attention(
        self, heads: Number, head_dim: Number, context: Map, *, output_bias: bool = True
    ) -> None:
        """Attend from the map to another one; the projections in have no biases."""
        channels, inner, sizes = self.x.channels, heads * head_dim, self.x.sizes
        self.linear(inner, bias=False, split="column", units=heads)
        query, self.x = self.x, context
        self.linear(2 * inner, bias=False, split="column", units=heads, runs=2)
        self.x = query
        self.attention(heads, head_dim, context=context.positions)
        self.reshape(inner, sizes)
        self.linear(channels, bias=output_bias, split="row")

    def distances(self, name: str, places: Number, keys: Number, entries: Number) -> None:
        """Multiply queries, at `places` along one dimension, with the vectors of distances."""
        x = self.x
        self.add(
            Distances(
                name=self.name(name),
                source=x.name,
                rows=self.batch * exact_div(x.positions, places),
                dim=x.channels,
                keys=keys,
                places=places,
                entries=entries,
            )
        )

    def classify(self, classes: Number, *, bias: bool = True) -> None:
        """Project to `classes` logits and compare them with the labels; not for 0 classes."""
        if classes == 0:
            return
        self.linear(classes, bias=bias, head=True)
        self.loss()

    def loss(self) -> None:
        """Compare logits with labels."""
        rows = self.batch * self.x.positions
        self.add(
            CrossEntropy(
                name=self.name("loss"), source=self.x.name, rows=rows, classes=self.x.channels
            )
        )
