"""MobileViT (Mehta & Rastegari 2021): inverted residuals, and transformers across patches."""

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
class MobileVit(ImageNet):
    """Two stages of inverted residuals, then three that also attend."""

    image: tuple[int, ...] = (256, 256)
    widths: tuple[int, ...]
    """Channels of the stem, of each of five stages, and of the last convolution."""
    hidden: tuple[int, ...]
    """Width of the transformers of the last three stages."""
    heads: int = 4
    """Attention heads."""
    patch: int = 2
    """Side of a patch; pixels at the same place of all patches attend to each other."""
    expansion: float = 4.0
    """Inner channels of inverted residuals over those read."""
    feed_forward_ratio: float = 2.0
    """Inner width of the transformers' networks over theirs."""
    kernel: int = 3
    """Side of the windows around the transformers."""
    output_stride: int = 32
    """How much smaller than the image a map may become; then windows widen instead."""
    function: str = "silu"
    """Activation function."""
    query_key_value_bias: bool = True
    """Whether projections to queries, keys and values have biases."""

    def build(self, net: Net) -> None:
        stem = partial(net.convolution_norm, self.widths[0], 3, 2, function=self.function)
        net.block("stem", stem, part="stem")
        net.block("stage1", partial(self._inverted, net, self.widths[1], 1))
        net.block("stage2.first", partial(self._inverted, net, self.widths[2], 2))
        net.block("stage2", partial(self._inverted, net, self.widths[2], 1), 2)
        dilation = 1
        for index, (depth, hidden) in enumerate(zip(_DEPTHS, self.hidden, strict=True)):
            stage = index + 3
            if 2**stage > self.output_stride:
                dilation *= 2
            self._stage(net, stage, self.widths[stage], depth, hidden, dilation)
        net.block("head", partial(self._head, net), part="head")

    def _inverted(self, net: Net, width: int, stride: int, dilation: int = 1) -> None:
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

    def _stage(
        self, net: Net, number: int, width: int, depth: int, hidden: int, dilation: int
    ) -> None:
        stride, near = (2, 1) if dilation == 1 else (1, dilation // 2)

        def shrink() -> None:
            self._inverted(net, width, stride, near)

        def enter() -> None:
            net.convolution_norm(width, self.kernel, function=self.function)
            net.convolution(hidden)

        net.block(f"stage{number}.shrink", shrink)
        before = net.x
        net.block(f"stage{number}.enter", enter)
        sizes = net.x.sizes
        patches = prod(ceil_div(side, self.patch) for side in sizes)
        layer = EncoderLayer(
            heads=self.heads,
            width=scaled(hidden, self.feed_forward_ratio),
            function=self.function,
            bias=self.query_key_value_bias,
        )

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

        net.block(f"stage{number}.layers", attend, depth)
        net.block(f"stage{number}.leave", leave, 1, "layer", before)

    def _head(self, net: Net) -> None:
        net.convolution_norm(self.widths[-1], function=self.function)
        mean_head(net, self.classes)
