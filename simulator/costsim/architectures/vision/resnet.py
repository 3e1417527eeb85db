"""Residual nets: ResNet (He et al. 2015), ResNeXt, Wide-ResNet, and their video variants."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Map, Net, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNet(ImageNet):
    """A strided stem, stages of residual blocks, the mean of the map, and a linear head."""

    depths: tuple[int, ...]
    """Blocks of each stage."""
    widths: tuple[int, ...]
    """Channels that the blocks of each stage give."""
    block: Literal["basic", "bottleneck"] = "bottleneck"
    """Two 3×3 convolutions, or 1×1, 3×3, 1×1 with fewer channels in the middle."""
    inner_widths: tuple[int, ...] | None = None
    """Channels in the middle of bottlenecks; a quarter of `widths` if not given."""
    groups: int = 1
    """Groups of channels of the 3×3 convolutions of bottlenecks."""
    stem_width: int = 64
    """Channels of the first convolution."""
    function: str = "relu"
    """Activation function."""
    stride_first: bool = False
    """Whether a bottleneck's first convolution has the stride, instead of its 3×3."""
    shrink_first_stage: bool = False
    """Whether the first stage has a stride too."""

    squeeze_divisor: int = 0
    """Channels over those of the squeezed means that weigh a branch's channels; 0 without."""

    def build(self, net: Net) -> None:
        self.body(net)
        net.block("head", partial(mean_head, net, self.classes), part="head")

    def body(self, net: Net, strides: tuple[int, ...] | None = None) -> tuple[Map, ...]:
        """Compose stem and stages, without the head, and return the map that each stage gives.

        Args:
            net: to compose in.
            strides: of each stage, where they are not the net's own; as many stages are made.
        """
        net.block("stem", partial(self._stem, net), part="stem")
        own = (2 if self.shrink_first_stage else 1, *(2,) * (len(self.depths) - 1))
        maps: list[Map] = []
        for index, stride in enumerate(strides or own):
            number, depth, width = index + 1, self.depths[index], self.widths[index]
            inner = width // 4 if self.inner_widths is None else self.inner_widths[index]
            make = self._bottleneck if self.block == "bottleneck" else self._basic
            net.block(f"stage{number}.first", partial(make, net, width, inner, stride))
            net.block(f"stage{number}", partial(make, net, width, inner, 1), depth - 1)
            maps.append(net.x)
        return tuple(maps)

    def _stem(self, net: Net) -> None:
        net.convolution_norm(self.stem_width, 7, 2, function=self.function)
        net.pool("max", 3, 2, 1)

    def _basic(self, net: Net, width: int, inner: int, stride: int) -> None:
        def branch() -> None:
            net.convolution_norm(width, 3, stride, function=self.function)
            net.convolution_norm(width, 3, function=None)

        self._residual(net, branch, width, stride)

    def _bottleneck(self, net: Net, width: int, inner: int, stride: int) -> None:
        first, second = (stride, 1) if self.stride_first else (1, stride)

        def branch() -> None:
            net.convolution_norm(inner, 1, first, function=self.function)
            net.convolution_norm(inner, 3, second, groups=self.groups, function=self.function)
            net.convolution_norm(width, 1, function=None)
            if self.squeeze_divisor:
                net.squeeze_excite(width // self.squeeze_divisor)

        self._residual(net, branch, width, stride)

    def _residual(self, net: Net, branch: Step, width: int, stride: int) -> None:
        projects = stride != 1 or net.x.channels != width
        shortcut = partial(net.convolution_norm, width, 1, stride, function=None)
        net.residual(branch, shortcut if projects else None)
        net.activation(self.function)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoResNet(ImageNet):
    """ResNet-18 over frames (Tran et al. 2018): 3-D convolutions, mixed or factorized."""

    image: tuple[int, ...] = (16, 112, 112)
    depths: tuple[int, ...] = (2, 2, 2, 2)
    """Blocks of each stage."""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Channels of each stage."""
    convolutions: Literal["3d", "mixed", "factorized"] = "3d"
    """3×3×3 everywhere; only in the first stage and flat after it; or flat, then along time."""
    classes: int = 400

    def build(self, net: Net) -> None:
        net.block("stem", partial(self._stem, net), part="stem")
        for number, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            flat = self.convolutions == "mixed" and number > 1
            stride = 1 if number == 1 else 2
            net.block(f"stage{number}.first", partial(self._block, net, width, stride, flat))
            net.block(f"stage{number}", partial(self._block, net, width, 1, flat), depth - 1)
        net.block("head", partial(mean_head, net, self.classes), part="head")

    def _stem(self, net: Net) -> None:
        if self.convolutions == "factorized":
            net.convolution_norm(45, (1, 7, 7), (1, 2, 2))
            net.convolution_norm(self.widths[0], (3, 1, 1))
        else:
            net.convolution_norm(self.widths[0], (3, 7, 7), (1, 2, 2))

    def _block(self, net: Net, width: int, stride: int, flat: bool) -> None:
        inputs = net.x.channels
        # As many parameters as a 3×3×3 convolution has.
        between = inputs * width * 27 // (inputs * 9 + 3 * width)
        strides = (1 if flat else stride, stride, stride)

        def convolve(strides: tuple[int, int, int], function: str | None) -> None:
            if self.convolutions == "factorized":
                net.convolution_norm(between, (1, 3, 3), (1, *strides[1:]))
                net.convolution_norm(width, (3, 1, 1), (strides[0], 1, 1), function=function)
            else:
                kernel = (1, 3, 3) if flat else (3, 3, 3)
                net.convolution_norm(width, kernel, strides, function=function)

        def branch() -> None:
            convolve(strides, "relu")
            convolve((1, 1, 1), None)

        projects = stride != 1 or inputs != width
        shortcut = partial(net.convolution_norm, width, 1, strides, function=None)
        net.residual(branch, shortcut if projects else None)
        net.activation("relu")


def mean_head(net: Net, classes: int) -> None:
    """Classify the mean of the map."""
    net.mean()
    net.flatten()
    net.classify(classes)
