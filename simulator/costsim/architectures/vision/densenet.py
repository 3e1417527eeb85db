"""DenseNet (Huang et al. 2016): every layer reads all that came before it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net
from costsim.architectures.vision.resnet import mean_head


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseNet(ImageNet):
    """Dense blocks with transitions between them that halve channels and size."""

    depths: tuple[int, ...]
    """Layers of each dense block."""
    growth: int = 32
    """Channels that a layer adds."""
    stem_width: int = 64
    """Channels of the first convolution."""
    bottleneck: int = 4
    """Channels within a layer, in multiples of `growth`."""

    def build(self, net: Net) -> None:
        net.block("stem", partial(self._stem, net), part="stem")
        for number, depth in enumerate(self.depths, 1):
            for index in range(1, depth + 1):
                net.block(f"dense{number}.{index}", partial(self._layer, net))
            if number < len(self.depths):
                net.block(f"transition{number}", partial(self._transition, net))
        net.block("head", partial(self._head, net), part="head")

    def _stem(self, net: Net) -> None:
        net.convolution_norm(self.stem_width, 7, 2)
        net.pool("max", 3, 2, 1)

    def _layer(self, net: Net) -> None:
        before = net.x
        net.channel_norm()
        net.activation("relu")
        net.convolution_norm(self.bottleneck * self.growth)
        net.convolution(self.growth, 3)
        net.concatenate(before, net.x)

    def _transition(self, net: Net) -> None:
        net.channel_norm()
        net.activation("relu")
        net.convolution(net.x.channels // 2)
        net.pool("mean", 2)

    def _head(self, net: Net) -> None:
        net.channel_norm()
        net.activation("relu")
        mean_head(net, self.classes)
