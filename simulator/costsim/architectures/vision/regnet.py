"""RegNet X and Y (Radosavovic et al. 2020): ResNeXt blocks, widths of a line; Y squeezes too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net
from costsim.architectures.vision.resnet import mean_head


@dataclass(frozen=True, slots=True, kw_only=True)
class RegNet(ImageNet):
    """Stages of grouped bottlenecks that narrow nothing, each halving the map."""

    depths: tuple[int, ...]
    """Blocks of each stage."""
    widths: tuple[int, ...]
    """Channels of each stage."""
    group_width: int
    """Channels of a group of the 3×3 convolutions."""
    squeeze_ratio: float | None = None
    """Channels of squeeze-and-excitation over those that the block reads; null for X."""
    stem_width: int = 32
    """Channels of the first convolution."""
    function: str = "relu"
    """Activation function."""
    shrink_first_stage: bool = True
    """Whether the first stage has a stride too."""

    def build(self, net: Net) -> None:
        stem = partial(net.convolution_norm, self.stem_width, 3, 2, function=self.function)
        net.block("stem", stem, part="stem")
        for number, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            stride = 2 if number > 1 or self.shrink_first_stage else 1
            net.block(f"stage{number}.first", partial(self._bottleneck, net, width, stride))
            net.block(f"stage{number}", partial(self._bottleneck, net, width, 1), depth - 1)
        net.block("head", partial(mean_head, net, self.classes), part="head")

    def _bottleneck(self, net: Net, width: int, stride: int) -> None:
        inputs: int = net.x.channels
        groups = max(1, width // self.group_width)

        def branch() -> None:
            net.convolution_norm(width, function=self.function)
            net.convolution_norm(width, 3, stride, groups=groups, function=self.function)
            if self.squeeze_ratio is not None:
                net.squeeze_excite(round(self.squeeze_ratio * inputs))
            net.convolution_norm(width, function=None)

        projects = stride != 1 or inputs != width
        shortcut = partial(net.convolution_norm, width, 1, stride, function=None)
        net.residual(branch, shortcut if projects else None)
        net.activation(self.function)
