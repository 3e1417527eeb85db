"""Big Transfer (Kolesnikov et al. 2019): ResNet v2 with group norms and standardized weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net, fitted
from costsim.architectures.vision.resnet import mean_head


@dataclass(frozen=True, slots=True, kw_only=True)
class BigTransfer(ImageNet):
    """Stages of bottlenecks that normalize before convolving, or after."""

    depths: tuple[int, ...]
    """Blocks of each stage."""
    widths: tuple[int, ...]
    """Channels that the blocks of each stage give."""
    width_factor: int = 1
    """Factor of those."""
    before: bool = True
    """Whether norms precede convolutions."""
    groups: int = 32
    """Groups that channels are normalized in."""
    stem_width: int = 64
    """Channels of the first convolution."""
    output_stride: int = 32
    """How much smaller than the image a map may become; then windows widen instead."""
    function: str = "relu"
    """Activation function."""
    same_padding: bool = False
    """Whether padding keeps size / stride, more of it at the far end."""

    def build(self, net: Net) -> None:
        net.block("stem", partial(self._stem, net), part="stem")
        shrunk, dilation = 4, 1
        for number, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            stride = 1 if number == 1 else 2
            if shrunk >= self.output_stride:
                stride, dilation = 1, dilation * stride
            shrunk *= stride
            outputs = fitted(width * self.width_factor)
            # Windows widen only where norms follow; the first is then less wide.
            wide = 1 if self.before else dilation
            near = 1 if wide in (1, 2) else 2
            first = partial(self._block, net, outputs, stride, near, first=True)
            rest = partial(self._block, net, outputs, 1, wide, first=False)
            net.block(f"stage{number}.first", first)
            net.block(f"stage{number}", rest, depth - 1)
        net.block("head", partial(self._head, net), part="head")

    @property
    def _padding(self) -> Literal["same"] | None:
        return "same" if self.same_padding else None

    def _norm(self, net: Net, function: str | None) -> None:
        net.channel_norm("group", self.groups)
        if function is not None:
            net.activation(function)

    def _stem(self, net: Net) -> None:
        net.convolution(self.stem_width, 7, 2, self._padding)
        if not self.before:
            self._norm(net, self.function)
        net.pool("max", 3, 2, 1)

    def _block(self, net: Net, width: int, stride: int, dilation: int, *, first: bool) -> None:
        inner = fitted(width / 4)
        start = net.x
        if self.before:
            self._norm(net, self.function)
        entered = net.x
        net.convolution(inner)
        self._norm(net, self.function)
        net.convolution(inner, 3, stride, self._padding, dilation=dilation)
        self._norm(net, self.function)
        net.convolution(width)
        if not self.before:
            self._norm(net, None)
        branch, net.x = net.x, start
        if first:
            net.x = entered
            net.convolution(width, 1, stride)
            if not self.before:
                self._norm(net, None)
        net.plus(branch)
        if not self.before:
            net.activation(self.function)

    def _head(self, net: Net) -> None:
        if self.before:
            self._norm(net, self.function)
        mean_head(net, self.classes)
