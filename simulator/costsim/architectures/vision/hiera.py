"""Hiera (Ryali et al. 2023): attention within units of the map, queries pooled between stages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod

from costsim.algebra import Number, exact_div
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net, scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class Hiera(ImageNet):
    """Stages that widen and shrink the map; the first attend within units of patches."""

    depths: tuple[int, ...]
    """Layers of each stage."""
    heads: tuple[int, ...]
    """Attention heads of each stage."""
    within: tuple[bool, ...]
    """Whether each stage attends within units only."""
    hidden: int
    """Channels of the first stage."""
    widening: float = 2.0
    """Factor of channels from stage to stage."""
    patch: tuple[int, ...] = (7, 7)
    """Sides of a patch."""
    patch_stride: tuple[int, ...] = (4, 4)
    """How far apart patches are."""
    patch_padding: tuple[int, ...] = (3, 3)
    """Padding at each end before them."""
    unit: tuple[int, ...] = (8, 8)
    """Sides of a unit in the first stage, in patches."""
    query_stride: tuple[int, ...] = (2, 2)
    """How many queries become one where a stage begins."""
    poolings: int = 3
    """How many stages, from the second, begin so."""
    feed_forward_ratio: float = 4.0
    """Inner width of networks over the channels."""
    function: str = "gelu"
    """Activation function."""

    def build(self, net: Net) -> None:
        net.block("patches", partial(self._stem, net), part="stem")
        area = prod(self.query_stride)
        unit = prod(self.unit)
        for number, depth in enumerate(self.depths):
            width = int(self.hidden * self.widening**number)
            heads = self.heads[number]
            begins = self.within[max(number - 1, 0)] or self.within[number]
            stride = area if 0 < number <= self.poolings else 1
            window = unit // area**number
            first = partial(self._layer, net, width, heads, stride, window if begins else None)
            rest = partial(
                self._layer, net, width, heads, 1, window if self.within[number] else None
            )
            net.block(f"stage{number + 1}.first", first)
            net.block(f"stage{number + 1}", rest, depth - 1)
        net.block("head", partial(self._head, net), part="head")

    def _stem(self, net: Net) -> None:
        net.convolution(self.hidden, self.patch, self.patch_stride, self.patch_padding, bias=True)
        native = prod(n // s for n, s in zip(self.image, self.patch_stride, strict=True))
        net.tokens()
        net.learned("positions", (native, self.hidden))

    def _layer(self, net: Net, width: int, heads: int, stride: int, window: int | None) -> None:
        start = net.x
        positions = start.positions
        net.layer_norm()
        normed = net.x
        each: Number = positions if window is None else stride * window
        fewer = exact_div(positions, stride)
        net.linear(3 * width, split="column", units=heads, runs=3)
        net.reshape(width, (positions,))
        if stride > 1:
            net.pool_to("max", (fewer,))
        windows = exact_div(positions, each)
        net.attention(
            heads,
            exact_div(width, heads),
            windows=windows,
            tokens=exact_div(each, stride),
            context=each,
        )
        net.linear(width, split="row")
        branch, net.x = net.x, start
        if start.channels != width:
            net.x = normed
            net.linear(width)
            net.pool_to("max", (fewer,))
        net.plus(branch)

        def feed() -> None:
            net.layer_norm()
            net.feed_forward(scaled(width, self.feed_forward_ratio), self.function)

        net.residual(feed)

    def _head(self, net: Net) -> None:
        net.mean()
        net.flatten()
        net.layer_norm()
        net.classify(self.classes)
