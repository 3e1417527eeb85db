"""TextNet (Chen et al. 2021): convolutions of odd shapes beside each other, found by search."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net
from costsim.architectures.vision.resnet import mean_head


@dataclass(frozen=True, slots=True, kw_only=True)
class TextNet(ImageNet):
    """Layers whose window, its column and its row are convolved apart and added."""

    widths: tuple[int, ...]
    """Channels of the stem and of each stage."""
    kernels: tuple[tuple[tuple[int, int], ...], ...]
    """Height and width of the window of each layer of each stage."""
    strides: tuple[tuple[int, ...], ...]
    """Stride of each layer of each stage."""
    stem_kernel: int = 3
    """Side of the first window."""
    stem_stride: int = 2
    """Its stride."""
    function: str = "relu"
    """Activation function of the stem."""

    def build(self, net: Net) -> None:
        stem = partial(
            net.convolution_norm,
            self.widths[0],
            self.stem_kernel,
            self.stem_stride,
            function=self.function,
        )
        net.block("stem", stem, part="stem")
        stages = zip(self.widths[1:], self.kernels, self.strides, strict=True)
        for number, (width, kernels, strides) in enumerate(stages, 1):
            for index, (kernel, stride) in enumerate(zip(kernels, strides, strict=True), 1):
                layer = partial(self._layer, net, width, kernel, stride)
                net.block(f"stage{number}.{index}", layer)
        net.block("head", partial(mean_head, net, self.classes), part="head")

    def _layer(self, net: Net, width: int, kernel: tuple[int, int], stride: int) -> None:
        start = net.x
        height, breadth = kernel
        shapes = [kernel]
        if breadth != 1:
            shapes.append((height, 1))
        if height != 1:
            shapes.append((1, breadth))
        made = None
        for shape in shapes:
            net.x = start
            padding = tuple((side - 1) // 2 for side in shape)
            net.convolution_norm(width, shape, stride, padding, function=None)
            if made is not None:
                net.plus(made)
            made = net.x
        if start.channels == width and stride == 1 and made is not None:
            net.x = start
            net.channel_norm()
            net.plus(made)
        net.activation("relu")
