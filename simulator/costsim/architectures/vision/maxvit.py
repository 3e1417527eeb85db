"""MaxViT (Tu et al. 2022): inverted residuals, attention in windows and over a grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from costsim.algebra import exact_div
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxVit(ImageNet):
    """Every layer convolves, attends within windows, and attends across them."""

    depths: tuple[int, ...]
    """Layers of each stage."""
    widths: tuple[int, ...]
    """Channels of each stage."""
    stem_width: int = 64
    """Channels of the two first convolutions."""
    head_dim: int = 32
    """Width of an attention head."""
    window: int = 7
    """Side of a window, and of the grid."""
    expansion: int = 4
    """Inner channels of inverted residuals and feed-forward networks, over those given."""

    def build(self, net: Net) -> None:
        net.block("stem", partial(self._stem, net), part="stem")
        for number, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            net.block(f"stage{number}.first", partial(self._layer, net, width, 2))
            net.block(f"stage{number}", partial(self._layer, net, width, 1), depth - 1)
        net.block("head", partial(self._head, net), part="head")

    def _stem(self, net: Net) -> None:
        net.convolution_norm(self.stem_width, 3, 2, function="gelu")
        net.convolution(self.stem_width, 3, bias=True)

    def _layer(self, net: Net, width: int, stride: int) -> None:
        self._inverted(net, width, stride)
        for kind in ("window", "grid"):
            net.residual(partial(self._attend, net, kind))
            net.residual(partial(self._feed, net))

    def _inverted(self, net: Net, width: int, stride: int) -> None:
        inner = self.expansion * width

        def shortcut() -> None:
            if stride != 1:
                net.pool("mean", 3, stride, 1)
            net.convolution(width, bias=True)

        def branch() -> None:
            net.channel_norm()
            net.convolution_norm(inner, function="gelu", split="column")
            net.depthwise(3, stride)
            net.channel_norm()
            net.activation("gelu")
            net.squeeze_excite(width // 4, "silu")
            net.convolution(width, bias=True, split="row")

        projects = stride != 1 or net.x.channels != width
        net.residual(branch, shortcut if projects else None)

    def _attend(self, net: Net, kind: str) -> None:
        width, sizes, tokens = net.x.channels, net.x.sizes, self.window * self.window
        heads = exact_div(width, self.head_dim)
        net.rearrange(width, sizes)
        net.layer_norm()
        net.learned(f"{kind}_bias", ((2 * self.window - 1) ** 2, heads), applied=False)
        net.self_attention(heads, windows=exact_div(net.x.positions, tokens), tokens=tokens)
        net.rearrange(width, sizes)

    def _feed(self, net: Net) -> None:
        net.layer_norm()
        net.feed_forward(self.expansion * net.x.channels)

    def _head(self, net: Net) -> None:
        net.mean()
        net.flatten()
        net.layer_norm()
        net.linear(self.widths[-1])
        net.activation("tanh")
        net.classify(self.classes, bias=False)
