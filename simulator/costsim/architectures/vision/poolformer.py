"""PoolFormer (Yu et al. 2021): a transformer whose attention is the mean of neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net, scaled
from costsim.architectures.vision.resnet import mean_head


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFormer(ImageNet):
    """Stages of pooling and 1×1 networks, each entered through patches."""

    depths: tuple[int, ...]
    """Blocks of each stage."""
    widths: tuple[int, ...]
    """Channels of each stage."""
    patches: tuple[int, ...]
    """Sides of the patches that enter each stage."""
    strides: tuple[int, ...]
    """How far apart they are."""
    paddings: tuple[int, ...]
    """Padding at each end before them."""
    pool: int = 3
    """Side of the neighbourhood."""
    feed_forward_ratio: float = 4
    """Inner width of networks over that of the stage."""
    function: str = "gelu"
    """Activation function."""
    layer_scale: bool = True
    """Whether what a sub-layer gives is scaled, channel by channel."""

    def build(self, net: Net) -> None:
        stages = zip(
            self.depths, self.widths, self.patches, self.strides, self.paddings, strict=True
        )
        for number, (depth, width, patch, stride, padding) in enumerate(stages, 1):
            enter = partial(net.convolution, width, patch, stride, padding, bias=True)
            net.block(f"patches{number}", enter, part="stem" if number == 1 else "layer")
            net.block(f"stage{number}", partial(self._block, net), depth)
        net.block("head", partial(self._head, net), part="head")

    def _block(self, net: Net) -> None:
        width = net.x.channels

        def scale() -> None:
            if self.layer_scale:
                net.learned("layer_scale", (width,), scales=True)

        def mix() -> None:
            net.channel_norm("group")
            net.pool("mean", self.pool, 1, self.pool // 2)
            scale()

        def feed() -> None:
            net.channel_norm("group")
            net.convolution(scaled(width, self.feed_forward_ratio), bias=True)
            net.activation(self.function)
            net.convolution(width, bias=True)
            scale()

        net.residual(mix)
        net.residual(feed)

    def _head(self, net: Net) -> None:
        net.channel_norm("group")
        mean_head(net, self.classes)
