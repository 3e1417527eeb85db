"""Pyramids: PVT (Wang et al. 2021), PVT v2, SegFormer (Xie et al. 2021): keys on coarser maps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import prod

from costsim.algebra import exact_div
from costsim.architectures.operators import Sizes
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net, scaled

_POOLED = (7, 7)  # the map of keys in linear attention


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidStage:
    """Patches of the map before, then layers whose keys and values are of a coarser map."""

    depth: int
    """Number of layers."""
    width: int
    """Channels."""
    heads: int
    """Attention heads."""
    reduction: int
    """How many times coarser the keys' map is, along a side; of 1 it is the same."""
    feed_forward_ratio: float
    """Inner width of networks over the channels."""
    kernel: int
    """Side of a patch."""
    stride: int
    """How far apart patches are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid(ImageNet):
    """Stages that shrink the map and add channels."""

    stages: tuple[PyramidStage, ...]
    """The stages from bottom to top."""
    overlapping: bool = True
    """Whether patches overlap and networks convolve; else positions and a class are learned."""
    function: str = "gelu"
    """Activation function."""
    query_key_value_bias: bool = True
    """Whether projections to queries, keys and values have biases."""
    linear_attention: bool = False
    """Whether keys are of a map pooled to 7×7 whatever its size."""

    def build(self, net: Net) -> None:
        native = self.image
        for number, stage in enumerate(self.stages, 1):
            ends = number == len(self.stages) and not self.overlapping
            native = tuple(side // stage.stride for side in native)
            enter = partial(self._patches, net, stage, native, ends)
            net.block(f"patches{number}", enter, part="stem" if number == 1 else "layer")
            grid = net.x.sizes
            if ends:
                net.reshape(net.x.channels, (net.x.positions + 1,))
            net.block(f"stage{number}", partial(self._layer, net, stage, grid), stage.depth)
            if self.overlapping:
                net.block(f"norm{number}", net.layer_norm)
        net.block("head", partial(self._head, net), part="head")

    def _patches(self, net: Net, stage: PyramidStage, native: tuple[int, ...], ends: bool) -> None:
        padding = stage.kernel // 2 if self.overlapping else 0
        net.convolution(stage.width, stage.kernel, stage.stride, padding, bias=True)
        net.layer_norm()
        if not self.overlapping:
            if ends:
                net.learned("token", (1, stage.width), applied=False)
            net.learned("positions", (prod(native) + ends, stage.width))

    def _layer(self, net: Net, stage: PyramidStage, grid: Sizes) -> None:
        net.residual(partial(self._attend, net, stage, grid))
        net.residual(partial(self._feed, net, stage))

    def _attend(self, net: Net, stage: PyramidStage, grid: Sizes) -> None:
        bias, width = self.query_key_value_bias, stage.width
        net.layer_norm()
        start = net.x
        net.linear(width, bias=bias, split="column", units=stage.heads)
        net.x = start
        if self.linear_attention:
            net.x = replace(start, sizes=grid)
            net.pool_to("mean", _POOLED)
            net.convolution(width, bias=True)
            net.layer_norm()
            net.activation("gelu")
        elif stage.reduction > 1:
            net.x = replace(start, sizes=grid)
            net.convolution(width, stage.reduction, stage.reduction, 0, bias=True)
            net.layer_norm()
        keys = net.x.positions
        net.linear(2 * width, bias=bias, split="column", units=stage.heads, runs=2)
        net.reshape(width, start.sizes)
        head_dim = exact_div(width, stage.heads)
        net.attention(stage.heads, head_dim, context=keys)
        net.reshape(width, start.sizes)
        net.linear(width, split="row")

    def _feed(self, net: Net, stage: PyramidStage) -> None:
        net.layer_norm()
        net.linear(scaled(stage.width, stage.feed_forward_ratio), split="column")
        if self.overlapping:
            if self.linear_attention:
                net.activation("relu")
            net.depthwise(3, bias=True)
        net.activation(self.function)
        net.linear(stage.width, split="row")

    def _head(self, net: Net) -> None:
        if self.overlapping:
            net.mean()
        else:
            net.layer_norm()
        net.reshape(net.x.channels, ())
        net.classify(self.classes)
