"""SqueezeNet (Iandola et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net


@dataclass(frozen=True, slots=True, kw_only=True)
class SqueezeNet(ImageNet):
    """Fire modules: a squeeze to few channels, then 1×1 and 3×3 beside."""

    early_pooling: bool = False
    """Version 1.1: a smaller first convolution and pooling earlier."""

    def build(self, net: Net) -> None:
        pools = (3, 5) if self.early_pooling else (4, 8)
        net.block("stem", partial(self._stem, net), part="stem")
        widths = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256))
        for number, (squeeze, expand) in enumerate((*widths, (64, 256)), 2):
            fire = partial(self._fire, net, squeeze, expand, number in pools)
            net.block(f"fire{number}", fire)
        net.block("head", partial(self._head, net), part="head")

    def _stem(self, net: Net) -> None:
        if self.early_pooling:
            net.convolution(64, 3, 2, 0, bias=True)
        else:
            net.convolution(96, 7, 2, 0, bias=True)
        net.activation("relu")
        net.pool("max", 3, 2, ceil=True)

    def _fire(self, net: Net, squeeze: int, expand: int, pooled: bool) -> None:
        def expanded(kernel: int) -> None:
            net.convolution(expand, kernel, bias=True)
            net.activation("relu")

        net.convolution(squeeze, bias=True)
        net.activation("relu")
        net.branches(partial(expanded, 1), partial(expanded, 3))
        if pooled:
            net.pool("max", 3, 2, ceil=True)

    def _head(self, net: Net) -> None:
        net.convolution(self.classes, bias=True)
        net.activation("relu")
        net.mean()
        net.flatten()
        net.loss()
