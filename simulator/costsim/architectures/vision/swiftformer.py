"""SwiftFormer (Shaker et al. 2023): convolutional blocks, and one of additive attention a stage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net, Step, scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class SwiftFormer(ImageNet):
    """Stages of blocks whose last attends to one query gathered from all positions."""

    depths: tuple[int, ...]
    """Blocks of each stage."""
    widths: tuple[int, ...]
    """Channels of each stage."""
    shrinks: tuple[bool, ...]
    """Whether a convolution with a stride follows each stage though channels stay the same."""
    feed_forward_ratio: float = 4.0
    """Inner width of networks over the channels."""
    kernel: int = 3
    """Side of the windows between stages."""
    stride: int = 2
    """Their stride."""
    padding: int = 1
    """Padding at each end before them."""
    function: str = "gelu"
    """Activation function of the networks of attending blocks."""
    layer_scale: bool = True
    """Whether what attending blocks add is scaled, channel by channel."""

    def build(self, net: Net) -> None:
        net.block("stem", partial(self._stem, net), part="stem")
        last = len(self.depths) - 1
        for index, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            net.block(f"stage{index + 1}", partial(self._convolve, net), depth - 1)
            net.block(f"stage{index + 1}.last", partial(self._attend, net))
            following = self.widths[min(index + 1, last)]
            if index < last and (self.shrinks[index] or following != width):
                net.block(f"shrink{index + 1}", partial(self._shrink, net, following))
        net.block("head", partial(self._head, net), part="head")

    def _stem(self, net: Net) -> None:
        for width in (self.widths[0] // 2, self.widths[0]):
            net.convolution(width, 3, 2, bias=True)
            net.channel_norm()
            net.activation("relu")

    def _shrink(self, net: Net, width: int) -> None:
        net.convolution(width, self.kernel, self.stride, self.padding, bias=True)
        net.channel_norm()

    def _local(self, net: Net, inner: int) -> None:
        """Add a depthwise convolution and a network of 1×1 ones."""
        width = net.x.channels

        def branch() -> None:
            net.depthwise(3, bias=True)
            net.channel_norm()
            net.convolution(inner, bias=True)
            net.activation("gelu")
            net.convolution(width, bias=True)
            net.learned("layer_scale", (width,), scales=True)

        net.residual(branch)

    def _convolve(self, net: Net) -> None:
        self._local(net, scaled(net.x.channels, self.feed_forward_ratio))

    def _attend(self, net: Net) -> None:
        width = net.x.channels
        self._local(net, width)

        def mix() -> None:
            start = net.x
            net.linear(width)  # keys
            keys, net.x = net.x, start
            net.linear(width)
            queries = net.x
            net.linear(1, bias=False)  # how much each query counts
            net.x = queries
            net.times(keys)
            net.linear(width)
            net.plus(queries)
            net.linear(width)

        def feed() -> None:
            net.channel_norm()
            net.convolution(scaled(width, self.feed_forward_ratio), bias=True)
            net.activation(self.function)
            net.convolution(width, bias=True)

        def scale(build: Step) -> None:
            build()
            if self.layer_scale:
                net.learned("layer_scale", (width,), scales=True)

        net.residual(partial(scale, mix))
        net.residual(partial(scale, feed))

    def _head(self, net: Net) -> None:
        if not self.classes:
            return
        net.channel_norm()
        net.mean()
        net.flatten()
        pooled = net.x
        net.linear(self.classes, head=True)
        other, net.x = net.x, pooled
        net.linear(self.classes, head=True)  # of distillation
        net.plus(other)
        net.loss()
