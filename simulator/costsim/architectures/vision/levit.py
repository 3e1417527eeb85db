"""LeViT (Graham et al. 2021): a convolutional stem, then attention on maps that shrink."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from costsim.algebra import Number
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionShape:
    """Heads, width of a key, and that of a value over it."""

    heads: int
    key: int
    ratio: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeVit(ImageNet):
    """Stages of attention and networks, batch-normalized; between them, fewer queries."""

    depths: tuple[int, ...]
    """Layers of each stage."""
    widths: tuple[int, ...]
    """Channels of each stage."""
    shapes: tuple[AttentionShape, ...]
    """Attention of each stage."""
    ratios: tuple[int, ...]
    """Inner width of each stage's networks over its channels; 0 for none."""
    shrinking: tuple[AttentionShape, ...]
    """Attention between stages, from fewer queries."""
    shrinking_ratios: tuple[int, ...]
    """Inner width of the networks after it; 0 for none."""
    strides: tuple[int, ...]
    """How many times fewer queries each has, along a side."""
    patch: int = 16
    """Side of the image over that of the first map."""
    kernel: int = 3
    """Side of the stem's windows."""
    stride: int = 2
    """Their stride."""
    padding: int = 1
    """Padding at each end before them."""

    def build(self, net: Net) -> None:
        net.block("stem", partial(self._stem, net), part="stem")
        native = self.image[0] // self.patch
        for number, (depth, shape, ratio) in enumerate(
            zip(self.depths, self.shapes, self.ratios, strict=True)
        ):
            layer = partial(self._layer, net, shape, ratio, native)
            net.block(f"stage{number + 1}", layer, depth)
            if number < len(self.depths) - 1:
                shrink = partial(self._shrink, net, number, native)
                net.block(f"shrink{number + 1}", shrink)
                native = (native - 1) // self.strides[number] + 1
        net.block("head", partial(self._head, net), part="head")

    def _stem(self, net: Net) -> None:
        width = self.widths[0]
        for divisor in (8, 4, 2, 1):
            net.convolution(width // divisor, self.kernel, self.stride, self.padding)
            net.channel_norm()
            if divisor > 1:
                net.activation("hardswish")

    def _normed(self, net: Net, width: Number) -> None:
        net.linear(width, bias=False)
        net.channel_norm()

    def _layer(self, net: Net, shape: AttentionShape, ratio: int, native: int) -> None:
        net.residual(partial(self._attend, net, shape, native))
        if ratio:
            net.residual(partial(self._feed, net, ratio))

    def _feed(self, net: Net, ratio: int) -> None:
        width = net.x.channels
        self._normed(net, ratio * width)
        net.activation("hardswish")
        self._normed(net, width)

    def _attend(self, net: Net, shape: AttentionShape, native: int) -> None:
        width, sizes = net.x.channels, net.x.sizes
        value = shape.ratio * shape.key
        self._normed(net, shape.heads * (2 * shape.key + value))
        net.learned("distance_bias", (shape.heads, native * native), applied=False)
        net.attention(shape.heads, shape.key, value_dim=value)
        net.reshape(net.x.channels, sizes)
        net.activation("hardswish")
        self._normed(net, width)

    def _shrink(self, net: Net, number: int, native: int) -> None:
        shape, stride = self.shrinking[number], self.strides[number]
        start, value = net.x, shape.ratio * shape.key
        fewer = tuple((side - 1) // stride + 1 for side in start.sizes)
        self._normed(net, shape.heads * (shape.key + value))
        net.x = start
        net.reshape(start.channels, fewer)
        self._normed(net, shape.heads * shape.key)
        net.learned("distance_bias", (shape.heads, native * native), applied=False)
        net.attention(shape.heads, shape.key, value_dim=value, context=start.positions)
        net.reshape(net.x.channels, fewer)
        net.activation("hardswish")
        self._normed(net, self.widths[number + 1])
        ratio = self.shrinking_ratios[number]
        if ratio:
            net.residual(partial(self._feed, net, ratio))

    def _head(self, net: Net) -> None:
        net.mean()
        net.flatten()
        if self.classes:
            net.channel_norm()
            net.classify(self.classes)
