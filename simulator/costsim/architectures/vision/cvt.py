"""CvT (Wu et al. 2021): queries, keys and values are convolved before they are projected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from costsim.algebra import Number, exact_div
from costsim.architectures.operators import Sizes
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net, scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class CvtStage:
    """Overlapping patches of the map before, then transformer layers."""

    depth: int
    """Number of layers."""
    width: int
    """Channels."""
    heads: int
    """Attention heads."""
    ratio: float
    """Inner width of networks over the channels."""
    patch: int
    """Side of a patch."""
    stride: int
    """How far apart patches are."""
    padding: int
    """Padding at each end before them."""
    kernel: int
    """Side of the windows that queries, keys and values are convolved in."""
    query_stride: int
    """Their stride for queries."""
    query_padding: int
    """Their padding for queries."""
    key_stride: int
    """Their stride for keys and values."""
    key_padding: int
    """Their padding for keys and values."""
    bias: bool
    """Whether projections to queries, keys and values have biases."""
    token: bool
    """Whether there is a class token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cvt(ImageNet):
    """Stages that shrink the map and add channels."""

    stages: tuple[CvtStage, ...]
    """The stages from bottom to top."""

    def build(self, net: Net) -> None:
        for number, stage in enumerate(self.stages, 1):
            part = "stem" if number == 1 else "layer"
            net.block(f"patches{number}", partial(self._patches, net, stage), part=part)
            grid = net.x.sizes
            net.reshape(stage.width, (net.x.positions + stage.token,))
            net.block(f"stage{number}", partial(self._layer, net, stage, grid), stage.depth)
            if number < len(self.stages):
                net.reshape(stage.width, grid)
        net.block("head", partial(self._head, net), part="head")

    def _patches(self, net: Net, stage: CvtStage) -> None:
        net.convolution(stage.width, stage.patch, stage.stride, stage.padding, bias=True)
        net.layer_norm()
        if stage.token:  # as wide as the last stage
            net.learned("token", (1, self.stages[-1].width), applied=False)

    def _layer(self, net: Net, stage: CvtStage, grid: Sizes) -> None:
        def feed() -> None:
            net.layer_norm()
            net.feed_forward(scaled(stage.width, stage.ratio))

        net.residual(partial(self._attend, net, stage, grid))
        net.residual(feed)

    def _attend(self, net: Net, stage: CvtStage, grid: Sizes) -> None:
        net.layer_norm()
        start, width, heads = net.x, stage.width, stage.heads

        def projected(stride: int, padding: int) -> Number:
            net.x = replace(start, sizes=grid)
            net.depthwise(stage.kernel, stride, padding)
            net.channel_norm()
            net.tokens(stage.token)
            net.linear(width, bias=stage.bias, split="column", units=heads)
            return net.x.positions

        keys = projected(stage.key_stride, stage.key_padding)
        projected(stage.key_stride, stage.key_padding)  # values
        queries = projected(stage.query_stride, stage.query_padding)
        net.attention(heads, exact_div(width, heads), tokens=queries, context=keys)
        net.linear(width, split="row")

    def _head(self, net: Net) -> None:
        if self.classes:
            net.layer_norm()
        if not self.stages[-1].token:
            net.mean()
        net.reshape(net.x.channels, ())
        net.classify(self.classes)
