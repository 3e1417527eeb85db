"""HGNet V2 and LCNet (PaddlePaddle): convolutions in a row, gathered; separable ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Extent, Net, fitted
from costsim.architectures.vision.resnet import mean_head


@dataclass(frozen=True, slots=True, kw_only=True)
class HgStage:
    """Blocks of `layers` convolutions of `inner` channels, whose results are all gathered."""

    width: int
    """Channels that a block gives."""
    inner: int
    """Channels of the convolutions within."""
    blocks: int
    """How many blocks there are."""
    layers: int
    """Convolutions of a block."""
    kernel: int
    """Side of their windows."""
    light: bool
    """Whether each is a 1×1 and a depthwise convolution."""
    shrinks: bool
    """Whether a depthwise convolution with a stride comes first."""
    stride: int = 2
    """Its stride."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HgNetV2(ImageNet):
    """A stem of two paths, then stages of blocks."""

    stem_widths: tuple[int, ...]
    """Channels of the stem's first and last convolutions."""
    stem_strides: tuple[int, ...]
    """Strides of its five convolutions."""
    stages: tuple[HgStage, ...]
    """The stages from bottom to top."""
    function: str = "relu"
    """Activation function of the stem."""
    affine: bool = False
    """Whether a learned scale and offset follow each activation function."""

    def build(self, net: Net) -> None:
        net.block("stem", partial(self._stem, net), part="stem")
        for number, stage in enumerate(self.stages, 1):
            if stage.shrinks:
                net.block(f"shrink{number}", partial(self._shrink, net, stage))
            net.block(f"stage{number}.first", partial(self._block, net, stage))
            rest = partial(net.residual, partial(self._block, net, stage))
            net.block(f"stage{number}", rest, stage.blocks - 1)
        net.block("head", partial(mean_head, net, self.classes), part="head")

    def _convolve(
        self,
        net: Net,
        width: int,
        kernel: int = 1,
        stride: int = 1,
        function: str | None = "relu",
        padded: Extent | None = None,
    ) -> None:
        padding = (kernel - 1) // 2
        net.convolution_norm(width, kernel, stride, padding, padded=padded, function=function)
        self._affine(net, function)

    def _affine(self, net: Net, function: str | None) -> None:
        if self.affine and function is not None:
            net.learned("affine", (1,), (1,), scales=True)

    def _stem(self, net: Net) -> None:
        first, last = self.stem_widths
        strides, function = self.stem_strides, self.function
        self._convolve(net, first, 3, strides[0], function)
        start = net.x

        def convolved() -> None:  # padded by one at the far end, as the other path's window is
            self._convolve(net, first // 2, 2, strides[1], function, padded=1)
            self._convolve(net, first, 2, strides[2], function, padded=1)

        convolved()
        made, net.x = net.x, start
        net.pool_to("max", start.sizes)
        net.concatenate(net.x, made)
        self._convolve(net, first, 3, strides[3], function)
        self._convolve(net, last, 1, strides[4], function)

    def _shrink(self, net: Net, stage: HgStage) -> None:
        net.depthwise(3, stage.stride)
        net.channel_norm()

    def _block(self, net: Net, stage: HgStage) -> None:
        made = [net.x]
        for _ in range(stage.layers):
            if stage.light:
                self._convolve(net, stage.inner, function=None)
                net.depthwise(stage.kernel)
                net.channel_norm()
                net.activation("relu")
                self._affine(net, "relu")
            else:
                self._convolve(net, stage.inner, stage.kernel)
            made.append(net.x)
        net.concatenate(*made)
        self._convolve(net, stage.width // 2)
        self._convolve(net, stage.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Separable:
    """A depthwise convolution, perhaps squeeze-and-excitation, and a 1×1 convolution."""

    kernel: int
    """Side of the depthwise window."""
    width: int
    """Channels given, before they are scaled."""
    stride: int
    """Stride of the depthwise convolution."""
    squeeze: bool
    """Whether there is squeeze-and-excitation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LcNet(ImageNet):
    """Separable convolutions one after another, and a wide 1×1 one after the mean."""

    layers: tuple[Separable, ...]
    """The convolutions from bottom to top."""
    stem_width: int = 16
    """Channels of the first convolution, before they are scaled."""
    stem_stride: int = 2
    """Its stride."""
    width_scale: float = 1.0
    """Factor of all channels but the last."""
    divisor: int = 8
    """What they are rounded to a multiple of."""
    reduction: int = 4
    """Channels over those that squeeze-and-excitation goes through."""
    last_width: int = 1280
    """Channels of the last convolution."""
    function: str = "hardswish"
    """Activation function."""

    def build(self, net: Net) -> None:
        stem = partial(
            net.convolution_norm,
            self._scaled(self.stem_width),
            3,
            self.stem_stride,
            function=self.function,
        )
        net.block("stem", stem, part="stem")
        for number, block in enumerate(self.layers, 1):
            net.block(f"separable{number}", partial(self._separable, net, block))
        net.block("head", partial(self._head, net), part="head")

    def _scaled(self, width: int) -> int:
        return fitted(width * self.width_scale, self.divisor)

    def _separable(self, net: Net, block: Separable) -> None:
        net.depthwise(block.kernel, block.stride)
        net.channel_norm()
        net.activation(self.function)
        if block.squeeze:
            net.squeeze_excite(net.x.channels // self.reduction, "relu", "hardsigmoid")
        net.convolution_norm(self._scaled(block.width), function=self.function)

    def _head(self, net: Net) -> None:
        net.mean()
        net.convolution(self.last_width)
        net.activation(self.function)
        net.flatten()
        net.classify(self.classes)
