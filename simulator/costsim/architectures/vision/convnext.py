"""ConvNeXt (Liu et al. 2022): a convolutional net with the manners of a transformer; V2 (2023)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvNext(ImageNet):
    """Patches, then stages of a wide depthwise convolution and a feed-forward network."""

    depths: tuple[int, ...]
    """Blocks of each stage."""
    widths: tuple[int, ...]
    """Channels of each stage."""
    patch: int = 4
    """Side of a patch."""
    function: str = "gelu"
    """Activation function."""
    layer_scale: bool = True
    """Whether what a block adds is scaled, channel by channel."""
    response_norm: bool = False
    """Version 2: responses are normalized inside the network, usually instead of that."""

    def build(self, net: Net) -> None:
        net.block("stem", partial(self._stem, net), part="stem")
        for number, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            if number > 1:
                net.block(f"shrink{number}", partial(self._shrink, net, width))
            net.block(f"stage{number}", partial(self._block, net), depth)
        net.block("head", partial(self._head, net), part="head")

    def _stem(self, net: Net) -> None:
        net.convolution(self.widths[0], self.patch, self.patch, 0, bias=True)
        net.layer_norm()

    def _shrink(self, net: Net, width: int) -> None:
        net.layer_norm()
        net.convolution(width, 2, 2, 0, bias=True)

    def _block(self, net: Net) -> None:
        width = net.x.channels

        def branch() -> None:
            net.depthwise(7, bias=True)
            net.layer_norm()
            net.linear(4 * width, split="column")
            net.activation(self.function)
            if self.response_norm:
                net.learned("response_norm", (4 * width,), (4 * width,), scales=True)
            net.linear(width, split="row")
            if self.layer_scale:
                net.learned("layer_scale", (width,), scales=True)

        net.residual(branch)

    def _head(self, net: Net) -> None:
        net.mean()
        net.flatten()
        net.layer_norm()
        net.classify(self.classes)
