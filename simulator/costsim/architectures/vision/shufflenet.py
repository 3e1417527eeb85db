"""ShuffleNet V2 (Ma et al. 2018): half of the channels pass through, half are transformed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net
from costsim.architectures.vision.resnet import mean_head


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffleNetV2(ImageNet):
    """Stages of units whose first has a stride and transforms both halves."""

    widths: tuple[int, ...]
    """Channels of each stage."""
    depths: tuple[int, ...] = (4, 8, 4)
    """Units of each stage."""
    stem_width: int = 24
    """Channels of the first convolution."""
    last_width: int = 1024
    """Channels of the last convolution."""

    def build(self, net: Net) -> None:
        net.block("stem", partial(self._stem, net), part="stem")
        for number, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            net.block(f"stage{number}.first", partial(self._strided, net, width // 2))
            net.block(f"stage{number}", partial(self._unit, net, width // 2), depth - 1)
        net.block("head", partial(self._head, net), part="head")

    def _stem(self, net: Net) -> None:
        net.convolution_norm(self.stem_width, 3, 2)
        net.pool("max", 3, 2, 1)

    def _transform(self, net: Net, half: int, stride: int) -> None:
        net.convolution_norm(half)
        net.depthwise(3, stride)
        net.channel_norm()
        net.convolution_norm(half)

    def _strided(self, net: Net, half: int) -> None:
        def other() -> None:
            net.depthwise(3, 2)
            net.channel_norm()
            net.convolution_norm(half)

        net.branches(other, partial(self._transform, net, half, 2))

    def _unit(self, net: Net, half: int) -> None:
        passed = net.x = replace(net.x, channels=half)
        self._transform(net, half, 1)
        net.concatenate(passed, net.x)

    def _head(self, net: Net) -> None:
        net.convolution_norm(self.last_width)
        mean_head(net, self.classes)
