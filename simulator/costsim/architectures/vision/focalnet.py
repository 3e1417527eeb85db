"""FocalNet (Yang et al. 2022): each position is modulated by contexts of growing reach."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from costsim.algebra import ceil_div
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Map, Net, scaled

_GROWTH = 2  # of the window from level to level


@dataclass(frozen=True, slots=True, kw_only=True)
class FocalNet(ImageNet):
    """Stages of modulation and networks; between them, patches of 2×2 positions."""

    depths: tuple[int, ...]
    """Layers of each stage."""
    levels: tuple[int, ...]
    """Levels of context of each stage."""
    windows: tuple[int, ...]
    """Side of the first level's window of each stage."""
    hidden: int
    """Channels of the first stage; they double with each."""
    patch: int = 4
    """Side of a patch."""
    overlapping: bool = False
    """Whether patches overlap: 7×7 at first, then 3×3."""
    feed_forward_ratio: float = 4.0
    """Inner width of networks over the channels."""
    function: str = "gelu"
    """Activation function of networks."""
    layer_scale: bool = False
    """Whether what a sub-layer gives is scaled, channel by channel."""
    norms_after: bool = False
    """Whether norms follow sub-layers instead of preceding them."""
    inner_norm: bool = False
    """Whether what was modulated is normalized."""

    def build(self, net: Net) -> None:
        net.block("patches", partial(self._patches, net, self.hidden, True), part="stem")
        for index, depth in enumerate(self.depths):
            if index:
                enter = partial(self._patches, net, self.hidden * 2**index, False)
                net.block(f"patches{index + 1}", enter)
            net.block(f"stage{index + 1}", partial(self._layer, net, index), depth)
        net.block("head", partial(self._head, net), part="head")

    def _patches(self, net: Net, width: int, first: bool) -> None:
        side = self.patch if first else 2
        x = net.x  # padded to whole patches
        net.x = replace(x, sizes=tuple(ceil_div(size, side) * side for size in x.sizes))
        if not self.overlapping:
            net.convolution(width, side, side, 0, bias=True)
        elif first:
            net.convolution(width, 7, 4, 2, bias=True)
        else:
            net.convolution(width, 3, 2, 1, bias=True)
        net.layer_norm()

    def _layer(self, net: Net, index: int) -> None:
        width = net.x.channels

        def sub_layer(build: partial[None]) -> None:
            if not self.norms_after:
                net.layer_norm()
            build()
            if self.norms_after:
                net.layer_norm()
            if self.layer_scale:
                net.learned("layer_scale", (width,), scales=True)

        feed = partial(net.feed_forward, scaled(width, self.feed_forward_ratio), self.function)
        net.residual(partial(sub_layer, partial(self._modulate, net, index)))
        net.residual(partial(sub_layer, feed))

    def _modulate(self, net: Net, index: int) -> None:
        width, levels = net.x.channels, self.levels[index]
        net.linear(2 * width + levels + 1)  # query, context, and a gate for each level
        projected = net.x
        query = replace(projected, channels=width)
        gathered: Map | None = None
        net.x = query
        for level in range(levels):
            net.depthwise(_GROWTH * level + self.windows[index])
            net.activation("gelu")
            context = net.x
            net.times(projected, broadcast=True)
            if gathered is not None:
                net.plus(gathered)
            gathered, net.x = net.x, context
        sizes = net.x.sizes
        net.mean()
        net.activation("gelu")
        net.reshape(width, sizes)
        net.times(projected, broadcast=True)
        if gathered is not None:
            net.plus(gathered)
        net.convolution(width, bias=True)
        net.times(query)
        if self.inner_norm:
            net.layer_norm()
        net.linear(width)

    def _head(self, net: Net) -> None:
        net.layer_norm()
        net.mean()
        net.flatten()
        net.classify(self.classes)
