"""AlexNet (Krizhevsky 2014, one column) and VGG (Simonyan & Zisserman 2014): plain stacks."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net


@dataclass(frozen=True, slots=True, kw_only=True)
class AlexNet(ImageNet):
    """Five convolutions, three linear layers."""

    hidden_features: int = 4096
    """Width of the linear layers."""

    def build(self, net: Net) -> None:
        def features() -> None:
            for outputs, kernel, stride, padding, pooled in (
                (64, 11, 4, 2, True),
                (192, 5, 1, 2, True),
                (384, 3, 1, 1, False),
                (256, 3, 1, 1, False),
                (256, 3, 1, 1, True),
            ):
                net.convolution(outputs, kernel, stride, padding, bias=True)
                net.activation("relu")
                if pooled:
                    net.pool("max", 3, 2)

        net.block("features", features)
        net.block(
            "head", lambda: dense_head(net, (6, 6), self.hidden_features, self.classes), part="head"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Vgg(ImageNet):
    """Stages of 3×3 convolutions, each followed by pooling."""

    depths: tuple[int, ...]
    """Convolutions of each stage."""
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    """Channels of each stage."""
    batch_norm: bool = False
    """Whether batch normalization follows each convolution."""
    hidden_features: int = 4096
    """Width of the linear layers."""

    def build(self, net: Net) -> None:
        def convolve(width: int, *, pooled: bool) -> None:
            net.convolution(width, 3, bias=True)
            if self.batch_norm:
                net.channel_norm()
            net.activation("relu")
            if pooled:
                net.pool("max", 2)

        for number, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            for index in range(1, depth + 1):
                name = f"stage{number}.{index}"
                last = index == depth
                net.block(name, lambda width=width, last=last: convolve(width, pooled=last))
        net.block(
            "head", lambda: dense_head(net, (7, 7), self.hidden_features, self.classes), part="head"
        )


def dense_head(net: Net, sizes: tuple[int, int], width: int, classes: int) -> None:
    """Pool to a fixed size and classify with three linear layers."""
    net.pool_to("mean", sizes)
    net.flatten()
    for _ in range(2):
        net.linear(width)
        net.activation("relu")
    net.classify(classes)
