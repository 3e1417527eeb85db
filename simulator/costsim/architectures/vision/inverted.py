"""Inverted residuals: widen, convolve each channel by itself, narrow. What mobile nets are made of.

A depthwise and a 1×1 convolution do the work of a k×k one with N outputs in 1/N + 1/k² of its
operations (Howard et al. 2017, section 3.1).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net, fitted
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
    squeeze: float | None = None
    """Channels that squeeze-and-excitation goes through, over those `squeezed`; null for none."""
    squeezed: Literal["inputs", "inner", "rounded"] = "inputs"
    """Over the channels read, over the inner ones, or over these and rounded to 8."""
    fused: bool = False
    """Whether one k×k convolution widens, instead of a 1×1 and a depthwise one."""
    widen: bool = False
    """Whether there is a 1×1 convolution even where it widens nothing."""
    dilation: int = 1
    """How far apart the window's places are, in the first."""
    then_dilation: int = 1
    """The same in the others."""
    one_sided: bool = True
    """Whether padding that is odd stands on one side, in the first."""
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
            then = replace(stage, stride=1, dilation=stage.then_dilation, one_sided=True)
            net.block(f"stage{number}.first", partial(self.inverted, net, stage))
            net.block(f"stage{number}", partial(self.inverted, net, then), stage.depth - 1)
        net.block("head", partial(self.head, net), part="head")

    def stem(self, net: Net) -> None:
        """Add the first convolution."""
        net.convolution_norm(self.stem_width, 3, 2, function=self.function)

    def head(self, net: Net) -> None:
        """Add the last convolution and the classifier."""
        net.convolution_norm(self.last_width, function=self.function)
        mean_head(net, self.classes)

    def inverted(self, net: Net, stage: Stage) -> None:
        """Add one inverted residual; it is added to its input where both have the same shape."""
        if stage.stride == 1 and net.x.channels == stage.width:
            net.residual(partial(self._branch, net, stage))
        else:
            self._branch(net, stage)

    def inner(self, inputs: int, stage: Stage) -> int:
        """Return the inner channels of a stage."""
        return stage.inner or fitted(inputs * stage.expansion)

    def depthwise(self, net: Net, stage: Stage) -> None:
        """Convolve each channel by itself."""
        net.depthwise(stage.kernel, stage.stride, dilation=stage.dilation)

    def _branch(self, net: Net, stage: Stage) -> None:
        inputs: int = net.x.channels
        inner = self.inner(inputs, stage)
        widens = inner != inputs or stage.widen
        if stage.fused:
            width = inner if widens else stage.width
            net.convolution_norm(width, stage.kernel, stage.stride, function=stage.function)
            if widens:
                net.convolution_norm(stage.width, function=None)
            return
        if widens:
            net.convolution_norm(inner, function=stage.function, split="column")
        self.depthwise(net, stage)
        net.channel_norm()
        net.activation(stage.function)
        if stage.squeeze is not None:
            base = inputs if stage.squeezed == "inputs" else inner
            squeezed = max(1, int(base * stage.squeeze))
            if stage.squeezed == "rounded":
                squeezed = fitted(base * stage.squeeze)
            net.squeeze_excite(squeezed, self.squeeze_function, self.gate)
        net.convolution_norm(stage.width, function=None, split="row" if widens else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedNet(InvertedNet):
    """A net whose stages are told one by one."""

    runs: tuple[Stage, ...]
    """The stages from bottom to top."""
    first_width: int
    """Channels of the first convolution."""
    final_width: int
    """Channels of the last convolution."""
    activation: str = "relu6"
    """Activation function of first and last convolution."""
    squeeze_activation: str = "relu"
    """Activation function within squeeze-and-excitation."""
    divisor: int = 8
    """What inner channels are a multiple of."""
    lowest_width: int = 8
    """Channels that no layer falls below."""
    padding: Literal["half", "same", "valid"] = "half"
    """Half a window at each end; as much as keeps size / stride; or with a stride, one less."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.runs

    @property
    def stem_width(self) -> int:
        return self.first_width

    @property
    def last_width(self) -> int:
        return self.final_width

    @property
    def function(self) -> str:
        return self.activation

    @property
    def squeeze_function(self) -> str:
        return self.squeeze_activation

    def inner(self, inputs: int, stage: Stage) -> int:
        if stage.expansion == 1:
            return inputs
        return fitted(round(inputs * stage.expansion), self.divisor, self.lowest_width)

    def stem(self, net: Net) -> None:
        padding = "same" if self.padding == "same" else None
        padded = 1 if self.padding == "valid" else None
        net.convolution_norm(
            self.stem_width, 3, 2, padding, padded=padded, function=self.activation
        )

    def depthwise(self, net: Net, stage: Stage) -> None:
        padded = None
        if self.padding == "valid" and stage.stride > 1:
            padded = 2 * (stage.kernel // 2) - stage.one_sided
        padding = "same" if self.padding == "same" else None
        net.depthwise(stage.kernel, stage.stride, padding, dilation=stage.dilation, padded=padded)
