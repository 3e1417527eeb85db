"""MobileNets for phones: V1 (Howard et al. 2017), V2 (Sandler 2018), V3 (Howard 2019), MNASNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.inverted import InvertedNet, Stage
from costsim.architectures.vision.net import Net, fitted
from costsim.architectures.vision.resnet import mean_head


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileNetV1(ImageNet):
    """Depthwise-separable convolutions one after another."""

    width_scale: float = 1.0
    """Factor of all channels."""
    lowest_width: int = 8
    """Channels that no layer falls below."""
    function: str = "relu6"
    """Activation function."""
    padding: Literal["half", "same"] = "half"
    """Half a window at each end, or as much as keeps size / stride, more of it at the far end."""

    def build(self, net: Net) -> None:
        net.block("stem", partial(self._stem, net), part="stem")
        strided = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))
        rest = ((512, 1),) * 5 + ((1024, 2), (1024, 1))
        for number, (width, stride) in enumerate(strided + rest, 1):
            separable = partial(self._separable, net, self._scaled(width), stride)
            net.block(f"separable{number}", separable)
        net.block("head", partial(mean_head, net, self.classes), part="head")

    @property
    def _padding(self) -> Literal["same"] | None:
        return "same" if self.padding == "same" else None

    def _scaled(self, width: int) -> int:
        return max(int(width * self.width_scale), self.lowest_width)

    def _stem(self, net: Net) -> None:
        net.convolution_norm(self._scaled(32), 3, 2, self._padding, function=self.function)

    def _separable(self, net: Net, width: int, stride: int) -> None:
        net.depthwise(3, stride, self._padding)
        net.channel_norm()
        net.activation(self.function)
        net.convolution_norm(width, function=self.function)


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileNetV2(InvertedNet):
    """Inverted residuals with linear bottlenecks."""

    width_scale: float = 1.0
    """Factor of all channels."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        rows = (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        )
        return tuple(
            Stage(expansion=t, width=fitted(c * self.width_scale), depth=n, stride=s)
            for t, c, n, s in rows
        )

    @property
    def stem_width(self) -> int:
        return fitted(32 * self.width_scale)

    @property
    def last_width(self) -> int:
        return fitted(1280 * max(1.0, self.width_scale))


# Kernel, inner channels, channels given, squeeze-and-excitation, hard swish, stride.
_Row = tuple[int, int, int, bool, bool, int]
_LARGE: tuple[_Row, ...] = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
_SMALL: tuple[_Row, ...] = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileNetV3(InvertedNet):
    """Inverted residuals found by search, with squeeze-and-excitation and hard functions."""

    size: Literal["large", "small"] = "large"
    """Which of the two that the paper gives."""

    @property
    def _rows(self) -> Sequence[_Row]:
        return _LARGE if self.size == "large" else _SMALL

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(
            Stage(
                kernel=kernel,
                inner=inner,
                width=width,
                stride=stride,
                squeeze=0.25 if squeeze else None,
                squeezed="rounded",
                function="hardswish" if hard else "relu",
            )
            for kernel, inner, width, squeeze, hard, stride in self._rows
        )

    @property
    def stem_width(self) -> int:
        return 16

    @property
    def last_width(self) -> int:
        return 6 * self._rows[-1][2]

    @property
    def function(self) -> str:
        return "hardswish"

    @property
    def gate(self) -> str:
        return "hardsigmoid"

    def head(self, net: Net) -> None:
        net.convolution_norm(self.last_width, function=self.function)
        net.mean()
        net.flatten()
        net.linear(1280 if self.size == "large" else 1024)
        net.activation(self.function)
        net.classify(self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class MnasNet(InvertedNet):
    """Inverted residuals of 3×3 and 5×5 windows (Tan et al. 2018)."""

    width_scale: float = 1.0
    """Factor of all channels but the last."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        rows = (
            (3, 2, 3, 24, 3),
            (5, 2, 3, 40, 3),
            (5, 2, 6, 80, 3),
            (3, 1, 6, 96, 2),
            (5, 2, 6, 192, 4),
            (3, 1, 6, 320, 1),
        )
        return tuple(
            Stage(
                kernel=kernel,
                stride=stride,
                expansion=expansion,
                width=fitted(width * self.width_scale),
                depth=depth,
                function="relu",
            )
            for kernel, stride, expansion, width, depth in rows
        )

    @property
    def stem_width(self) -> int:
        return fitted(32 * self.width_scale)

    @property
    def last_width(self) -> int:
        return 1280

    @property
    def function(self) -> str:
        return "relu"

    def stem(self, net: Net) -> None:
        InvertedNet.stem(self, net)
        net.depthwise(3)
        net.channel_norm()
        net.activation("relu")
        net.convolution_norm(fitted(16 * self.width_scale), function=None)
