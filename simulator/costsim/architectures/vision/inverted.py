"""Inverted residuals: widen, convolve each channel by itself, narrow. What mobile nets are made of.

A depthwise and a 1×1 convolution do the work of a k×k one with N outputs in 1/N + 1/k² of its
operations (Howard et al. 2017, section 3.1).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Literal

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Extent, Net, fitted
from costsim.architectures.vision.resnet import mean_head


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Equal inverted residuals, of which the first may have a stride."""

    width: int
    """Channels that they give."""
    depth: int = 1
    """How many there are."""
    expansion: float = 6
    """Inner channels in multiples of those read; of 1, nothing is widened."""
    inner: int | None = None
    """Inner channels of the first and only one, instead."""
    kernel: int = 3
    """Side of the convolution's window."""
    stride: int = 1
    """Stride of the first."""
    squeeze: int | None = None
    """Divisor of `squeezed` that gives the channels of squeeze-and-excitation; null for none."""
    squeezed: Literal["inputs", "inner"] = "inputs"
    """What that divides: the channels read or the inner ones (then rounded to 8)."""
    fused: bool = False
    """Whether one k×k convolution widens, instead of a 1×1 and a depthwise one."""
    function: str = "relu6"
    """Activation function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertedNet(ImageNet):
    """A strided stem, stages of inverted residuals, a wide 1×1 convolution and a linear head."""

    @property
    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """Runs of inverted residuals from bottom to top."""

    @property
    @abstractmethod
    def stem_width(self) -> int:
        """Channels of the first convolution."""

    @property
    @abstractmethod
    def last_width(self) -> int:
        """Channels of the last convolution."""

    @property
    def function(self) -> str:
        """Activation function of first and last convolution."""
        return "relu6"

    @property
    def gate(self) -> str:
        """Function that makes squeeze-and-excitation's factors."""
        return "sigmoid"

    @property
    def squeeze_function(self) -> str:
        """Function between its two layers."""
        return "relu"

    def build(self, net: Net) -> None:
        net.block("stem", partial(self.stem, net), part="stem")
        for number, stage in enumerate(self.stages, 1):
            first = partial(self.inverted, net, stage, stage.stride)
            net.block(f"stage{number}.first", first)
            net.block(f"stage{number}", partial(self.inverted, net, stage, 1), stage.depth - 1)
        net.block("head", partial(self.head, net), part="head")

    def stem(self, net: Net) -> None:
        """Add the first convolution."""
        net.convolution_norm(self.stem_width, 3, 2, function=self.function)

    def head(self, net: Net) -> None:
        """Add the last convolution and the classifier."""
        net.convolution_norm(self.last_width, function=self.function)
        mean_head(net, self.classes)

    def inverted(self, net: Net, stage: Stage, stride: int) -> None:
        """Add one inverted residual; it is added to its input where both have the same shape."""
        if stride == 1 and net.x.channels == stage.width:
            net.residual(partial(self._branch, net, stage, stride))
        else:
            self._branch(net, stage, stride)

    def padding(self, net: Net, kernel: int, stride: int) -> Extent | Literal["same"] | None:
        """Return the padding of a depthwise convolution: half the window, unless said otherwise."""
        del net, kernel, stride
        return None

    def _branch(self, net: Net, stage: Stage, stride: int) -> None:
        inputs: int = net.x.channels
        inner = stage.inner or fitted(inputs * stage.expansion)
        padding = self.padding(net, stage.kernel, stride)
        if stage.fused:
            if inner == inputs:
                net.convolution_norm(stage.width, stage.kernel, stride, function=stage.function)
                return
            net.convolution_norm(inner, stage.kernel, stride, function=stage.function)
        else:
            split = "row"
            if inner != inputs:
                net.convolution_norm(inner, function=stage.function, split="column")
            else:
                split = None
            net.depthwise(stage.kernel, stride, padding)
            net.channel_norm()
            net.activation(stage.function)
            if stage.squeeze is not None:
                width = max(1, inputs // stage.squeeze)
                if stage.squeezed == "inner":
                    width = fitted(inner // stage.squeeze)
                net.squeeze_excite(width, self.squeeze_function, self.gate)
            net.convolution_norm(stage.width, function=None, split=split)
            return
        net.convolution_norm(stage.width, function=None)
