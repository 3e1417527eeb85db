"""Swin (Liu et al. 2021), V2 (2021) and its video variant: attention inside shifted windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import prod

from costsim.algebra import Number, ceil_div, minimum
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Map, Net, scaled

BIAS_NETWORK = 512  # inner width of the network that makes version 2's position biases


@dataclass(frozen=True, slots=True, kw_only=True)
class Swin(ImageNet):
    """Stages of windowed attention; between them, four neighbours merge into one position."""

    depths: tuple[int, ...]
    """Layers of each stage."""
    heads: tuple[int, ...]
    """Attention heads of each stage."""
    hidden: int
    """Width of the first stage; it doubles with every other."""
    patch: tuple[int, ...] = (4, 4)
    """Sides of a patch."""
    window: tuple[int, ...] = (7, 7)
    """Sides of a window, in positions."""
    feed_forward_ratio: float = 4
    """Inner width of feed-forward networks over that of the stage."""
    function: str = "gelu"
    """Activation function of feed-forward networks."""
    query_key_value_bias: bool = True
    """Whether projections to queries, keys and values have biases."""
    key_bias: bool = True
    """Whether that to keys has, where the others do."""
    positions: bool = False
    """Whether there is a table of positions besides the biases."""
    final_norm: bool = True
    """Whether a norm follows the last stage."""
    fits: bool = False
    """Whether a window larger than the map shrinks to it, instead of the map being padded."""
    version: int = 1
    """Version 2 normalizes after sub-layers, scales cosines, and makes biases by a network."""

    def build(self, net: Net) -> None:
        net.block("patches", partial(self._stem, net), part="stem")
        for number, (depth, heads) in enumerate(zip(self.depths, self.heads, strict=True), 1):
            if number > 1:
                net.block(f"merge{number}", partial(self._merge, net))
            net.block(f"stage{number}", partial(self._layer, net, heads), depth)
        net.block("head", partial(self._head, net), part="head")

    def _stem(self, net: Net) -> None:
        x = net.x  # padded to whole patches
        whole = (ceil_div(n, p) * p for n, p in zip(x.sizes, self.patch, strict=True))
        net.x = replace(x, sizes=tuple(whole))
        net.convolution(self.hidden, self.patch, self.patch, 0, bias=True)
        net.layer_norm()
        if self.positions:
            native = prod(n // p for n, p in zip(self.image, self.patch, strict=True))
            net.learned("positions", (native, self.hidden))

    def _merge(self, net: Net) -> None:
        *frames, height, width = net.x.sizes
        channels = net.x.channels
        net.rearrange(4 * channels, (*frames, ceil_div(height, 2), ceil_div(width, 2)))
        if self.version == 1:
            net.layer_norm()
        net.linear(2 * channels, bias=False)
        if self.version == 2:
            net.layer_norm()

    def _layer(self, net: Net, heads: int) -> None:
        def attend() -> None:
            if self.version == 1:
                net.layer_norm()
            self._attention(net, heads)
            if self.version == 2:
                net.layer_norm()

        def feed() -> None:
            if self.version == 1:
                net.layer_norm()
            net.feed_forward(scaled(net.x.channels, self.feed_forward_ratio), self.function)
            if self.version == 2:
                net.layer_norm()

        net.residual(attend)
        net.residual(feed)

    def _attention(self, net: Net, heads: int) -> None:
        sizes, channels = net.x.sizes, net.x.channels
        window = self.shown_window(sizes)
        windows = tuple(ceil_div(n, w) for n, w in zip(sizes, window, strict=True))
        padded = tuple(n * w for n, w in zip(windows, window, strict=True))
        net.rearrange(channels, padded)  # shifted, padded and cut to windows
        self._position_bias(net, heads)
        net.self_attention(
            heads,
            windows=prod(windows),
            tokens=prod(window),
            bias=self.query_key_value_bias,
            key_bias=self.key_bias,
        )
        net.rearrange(channels, sizes)

    def shown_window(self, sizes: tuple[Number, ...]) -> tuple[Number, ...]:
        """Return the window on a map of `sizes`."""
        if not self.fits:
            return self.window
        return tuple(minimum(w, n) for w, n in zip(self.window, sizes, strict=True))

    def _position_bias(self, net: Net, heads: int) -> None:
        """Add the biases of scores by distance: a table, or a network of the distance."""
        distances = prod(2 * side - 1 for side in self.window)
        if self.version == 1:
            net.learned("position_bias", (distances, heads), applied=False)
            return

        def network() -> None:
            net.linear(BIAS_NETWORK)
            net.activation("relu")
            net.linear(heads, bias=False)

        net.once(Map("distances", len(self.window), (distances,), leaf=True), network)
        net.learned("score_scale", (heads, 1, 1), applied=False)

    def _head(self, net: Net) -> None:
        if self.final_norm:
            net.layer_norm()
        net.mean()
        net.flatten()
        net.classify(self.classes)
