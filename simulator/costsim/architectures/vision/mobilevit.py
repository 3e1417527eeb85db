"""MobileViT (Mehta & Rastegari 2021, 2022): inverted residuals, and transformers of patches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod

from costsim.algebra import ceil_div
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net, fitted, scaled
from costsim.architectures.vision.resnet import mean_head
from costsim.architectures.vision.vit import EncoderLayer

_DEPTHS = (2, 4, 3)  # transformer layers of the last three stages


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileNetStages(ImageNet):
    """What both versions have: a stem, two stages of inverted residuals, three that also attend."""

    image: tuple[int, ...] = (256, 256)
    patch: int = 2
    """Side of a patch; pixels at the same place of all patches attend to each other."""
    kernel: int = 3
    """Side of the windows around the transformers."""
    output_stride: int = 32
    """How much smaller than the image a map may become; then windows widen instead."""
    function: str = "silu"
    """Activation function."""
    expansion: float
    """Inner channels of inverted residuals over those read."""

    def enter(self, net: Net, widths: tuple[int, ...], repeats: int) -> None:
        """Add the stem and two stages of inverted residuals."""
        stem = partial(net.convolution_norm, widths[0], 3, 2, function=self.function)
        net.block("stem", stem, part="stem")
        net.block("stage1", partial(self.inverted, net, widths[1], 1))
        net.block("stage2.first", partial(self.inverted, net, widths[2], 2))
        net.block("stage2", partial(self.inverted, net, widths[2], 1), repeats - 1)

    def shrink(self, net: Net, number: int, width: int) -> None:
        """Add the inverted residual that begins a stage."""
        held = max(0, number - (self.output_stride.bit_length() - 1))
        stride, near = (1, 2 ** (held - 1)) if held else (2, 1)
        net.block(f"stage{number}.shrink", partial(self.inverted, net, width, stride, near))

    def inverted(self, net: Net, width: int, stride: int, dilation: int = 1) -> None:
        """Add an inverted residual."""
        inner = fitted(round(net.x.channels * self.expansion))

        def branch() -> None:
            net.convolution_norm(inner, function=self.function, split="column")
            net.depthwise(3, stride, dilation=dilation)
            net.channel_norm()
            net.activation(self.function)
            net.convolution_norm(width, function=None, split="row")

        if stride == 1 and net.x.channels == width:
            net.residual(branch)
        else:
            branch()


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileVit(MobileNetStages):
    """Transformers between convolutions, joined with the map before them."""

    widths: tuple[int, ...]
    """Channels of the stem, of each of five stages, and of the last convolution."""
    hidden: tuple[int, ...]
    """Width of the transformers of the last three stages."""
    heads: int = 4
    """Attention heads."""
    expansion: float = 4.0
    feed_forward_ratio: float = 2.0
    """Inner width of the transformers' networks over theirs."""
    query_key_value_bias: bool = True
    """Whether projections to queries, keys and values have biases."""

    def build(self, net: Net) -> None:
        self.enter(net, self.widths, 3)
        for number, (depth, hidden) in enumerate(zip(_DEPTHS, self.hidden, strict=True), 3):
            self.shrink(net, number, self.widths[number])
            self._attending(net, number, depth, hidden)
        net.block("head", partial(self._head, net), part="head")

    def _attending(self, net: Net, number: int, depth: int, hidden: int) -> None:
        before, width, sizes = net.x, net.x.channels, net.x.sizes
        patches = prod(ceil_div(side, self.patch) for side in sizes)
        layer = EncoderLayer(
            heads=self.heads,
            width=scaled(hidden, self.feed_forward_ratio),
            function=self.function,
            bias=self.query_key_value_bias,
        )

        def enter() -> None:
            net.convolution_norm(width, self.kernel, function=self.function)
            net.convolution(hidden)

        def attend() -> None:  # from each place within patches, to that place of all patches
            with net.multiplied(self.patch * self.patch):
                net.reshape(hidden, (patches,))
                layer.build(net)
            net.reshape(hidden, (self.patch * self.patch * patches,))

        def leave() -> None:
            net.layer_norm()
            net.reshape(hidden, sizes)
            net.convolution_norm(width, function=self.function)
            net.concatenate(before, net.x)
            net.convolution_norm(width, self.kernel, function=self.function)

        net.block(f"stage{number}.enter", enter)
        net.block(f"stage{number}.layers", attend, depth)
        net.block(f"stage{number}.leave", leave, 1, "layer", before)

    def _head(self, net: Net) -> None:
        net.convolution_norm(self.widths[-1], function=self.function)
        mean_head(net, self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileVitV2(MobileNetStages):
    """Attention to one context vector, whose cost grows with the map and no faster."""

    width_scale: float = 1.0
    """Factor of all channels."""
    hidden: tuple[int, ...] = (128, 192, 256)
    """Width of the transformers of the last three stages, before it is scaled."""
    depths: tuple[int, ...] = _DEPTHS
    """Their layers."""
    expansion: float = 2.0
    feed_forward_ratio: float = 2.0
    """Inner width of the transformers' networks over theirs."""

    def build(self, net: Net) -> None:
        scale = self.width_scale
        widths = (
            fitted(max(16, min(64, 32 * scale)), 8, 16),
            fitted(64 * scale, 16),
            *(fitted(width * scale) for width in (128, 256, 384, 512)),
        )
        self.enter(net, widths, 2)
        for number, (depth, hidden) in enumerate(zip(self.depths, self.hidden, strict=True), 3):
            self.shrink(net, number, widths[number])
            width, inner = widths[number], fitted(hidden * scale)
            net.block(f"stage{number}.enter", partial(self._enter, net, inner))
            net.block(f"stage{number}.layers", partial(self._layer, net), depth)
            net.block(f"stage{number}.leave", partial(self._leave, net, width))
        net.block("head", partial(mean_head, net, self.classes), part="head")

    def _enter(self, net: Net, hidden: int) -> None:
        net.depthwise(self.kernel)
        net.channel_norm()
        net.activation(self.function)
        net.convolution(hidden)

    def _leave(self, net: Net, width: int) -> None:
        net.channel_norm("group")
        net.convolution_norm(width, function=None)

    def _layer(self, net: Net) -> None:
        hidden = net.x.channels

        def attend() -> None:
            net.channel_norm("group")
            net.convolution(1 + 2 * hidden, bias=True)  # a score, a key and a value
            net.reshape(hidden, net.x.sizes)
            net.activation("relu")
            net.times(net.x, broadcast=True)
            net.convolution(hidden, bias=True)

        def feed() -> None:
            net.channel_norm("group")
            inner = scaled(hidden, self.feed_forward_ratio) // 16 * 16
            net.convolution(inner, bias=True)
            net.activation(self.function)
            net.convolution(hidden, bias=True)

        net.residual(attend)
        net.residual(feed)
