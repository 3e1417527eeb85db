"""GoogLeNet (Szegedy et al. 2014), Inception v3 (2015) and S3D (Xie et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Extent, Net, Step
from costsim.architectures.vision.resnet import mean_head

# Channels of the branches 1×1; 1×1 then 3×3; 1×1 then 3×3 (5×5 in the paper); pool then 1×1.
_BRANCHES: tuple[tuple[str, tuple[int, int, int, int, int, int]], ...] = (
    ("3a", (64, 96, 128, 16, 32, 32)),
    ("3b", (128, 128, 192, 32, 96, 64)),
    ("4a", (192, 96, 208, 16, 48, 64)),
    ("4b", (160, 112, 224, 24, 64, 64)),
    ("4c", (128, 128, 256, 24, 64, 64)),
    ("4d", (112, 144, 288, 32, 64, 64)),
    ("4e", (256, 160, 320, 32, 128, 128)),
    ("5a", (256, 160, 320, 32, 128, 128)),
    ("5b", (384, 192, 384, 48, 128, 128)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogLeNet(ImageNet):
    """Inception modules with batch normalization, without auxiliary heads."""

    def build(self, net: Net) -> None:
        net.block("stem", partial(self._stem, net), part="stem")
        for name, widths in _BRANCHES:
            net.block(f"inception{name}", partial(self._module, net, name, widths))
        net.block("head", partial(mean_head, net, self.classes), part="head")

    def _stem(self, net: Net) -> None:
        net.convolution_norm(64, 7, 2)
        net.pool("max", 3, 2, ceil=True)
        net.convolution_norm(64)
        net.convolution_norm(192, 3)
        net.pool("max", 3, 2, ceil=True)

    def _module(self, net: Net, name: str, widths: tuple[int, ...]) -> None:
        if name == "4a":
            net.pool("max", 3, 2, ceil=True)
        elif name == "5a":
            net.pool("max", 2, 2, ceil=True)
        one, reduce3, three, reduce5, five, pooled = widths
        net.branches(
            partial(net.convolution_norm, one),
            _chain(net, (reduce3, 1), (three, 3)),
            _chain(net, (reduce5, 1), (five, 3)),
            _pooled(net, "max", pooled),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InceptionV3(ImageNet):
    """Factorized convolutions; the auxiliary head has parameters but no part in inference."""

    image: tuple[int, ...] = (299, 299)
    auxiliary: bool = True
    """Whether the auxiliary classifier's parameters are counted."""

    def build(self, net: Net) -> None:
        net.block("stem", partial(self._stem, net), part="stem")
        for name, pooled in (("5b", 32), ("5c", 64), ("5d", 64)):
            net.block(f"mixed{name}", partial(self._fives, net, pooled))
        net.block("mixed6a", partial(self._shrink_first, net))
        for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            net.block(f"mixed{name}", partial(self._sevens, net, width))
        if self.auxiliary:
            net.block("auxiliary", partial(self._auxiliary, net))
        net.block("mixed7a", partial(self._shrink_second, net))
        for name in ("7b", "7c"):
            net.block(f"mixed{name}", partial(self._wide, net))
        net.block("head", partial(mean_head, net, self.classes), part="head")

    def _stem(self, net: Net) -> None:
        net.convolution_norm(32, 3, 2, 0)
        net.convolution_norm(32, 3, 1, 0)
        net.convolution_norm(64, 3)
        net.pool("max", 3, 2)
        net.convolution_norm(80)
        net.convolution_norm(192, 3, 1, 0)
        net.pool("max", 3, 2)

    def _fives(self, net: Net, pooled: int) -> None:
        net.branches(
            partial(net.convolution_norm, 64),
            _chain(net, (48, 1), (64, 5)),
            _chain(net, (64, 1), (96, 3), (96, 3)),
            _pooled(net, "mean", pooled),
        )

    def _shrink_first(self, net: Net) -> None:
        def deep() -> None:
            _chain(net, (64, 1), (96, 3))()
            net.convolution_norm(96, 3, 2, 0)

        net.branches(
            partial(net.convolution_norm, 384, 3, 2, 0), deep, partial(net.pool, "max", 3, 2)
        )

    def _sevens(self, net: Net, width: int) -> None:
        wide, tall = (1, 7), (7, 1)
        net.branches(
            partial(net.convolution_norm, 192),
            _chain(net, (width, 1), (width, wide), (192, tall)),
            _chain(net, (width, 1), (width, tall), (width, wide), (width, tall), (192, wide)),
            _pooled(net, "mean", 192),
        )

    def _auxiliary(self, net: Net) -> None:
        # Channel and kernel of its convolutions with their norms, then the linear layer.
        convolutions = ((768, 128, 1), (128, 768, 5))
        shapes: list[tuple[int, ...]] = []
        for inputs, outputs, kernel in convolutions:
            shapes += [(outputs, inputs, kernel, kernel), (outputs,), (outputs,)]
        shapes += [(self.classes, 768), (self.classes,)]
        net.learned("auxiliary", *shapes, applied=False)

    def _shrink_second(self, net: Net) -> None:
        def first() -> None:
            net.convolution_norm(192)
            net.convolution_norm(320, 3, 2, 0)

        def second() -> None:
            _chain(net, (192, 1), (192, (1, 7)), (192, (7, 1)))()
            net.convolution_norm(192, 3, 2, 0)

        net.branches(first, second, partial(net.pool, "max", 3, 2))

    def _wide(self, net: Net) -> None:
        def fork() -> None:
            net.branches(
                partial(net.convolution_norm, 384, (1, 3)),
                partial(net.convolution_norm, 384, (3, 1)),
            )

        def second() -> None:
            net.convolution_norm(384)
            fork()

        def third() -> None:
            _chain(net, (448, 1), (384, 3))()
            fork()

        net.branches(partial(net.convolution_norm, 320), second, third, _pooled(net, "mean", 192))


@dataclass(frozen=True, slots=True, kw_only=True)
class S3D(ImageNet):
    """Inception over frames, each 3-D convolution factorized into flat and along time."""

    image: tuple[int, ...] = (16, 224, 224)
    classes: int = 400

    def build(self, net: Net) -> None:
        net.block("stem", partial(self._stem, net), part="stem")
        for name, widths in _BRANCHES:
            net.block(f"inception{name}", partial(self._module, net, name, widths))
        net.block("head", partial(self._head, net), part="head")

    def _separable(self, net: Net, width: int, kernel: int, stride: int = 1) -> None:
        net.convolution_norm(width, (1, kernel, kernel), (1, stride, stride))
        net.convolution_norm(width, (kernel, 1, 1), (stride, 1, 1))

    def _stem(self, net: Net) -> None:
        self._separable(net, 64, 7, 2)
        net.pool("max", (1, 3, 3), (1, 2, 2), (0, 1, 1))
        net.convolution_norm(64)
        self._separable(net, 192, 3)
        net.pool("max", (1, 3, 3), (1, 2, 2), (0, 1, 1))

    def _module(self, net: Net, name: str, widths: tuple[int, ...]) -> None:
        if name == "4a":
            net.pool("max", 3, 2, 1)
        elif name == "5a":
            net.pool("max", 2, 2)
        one, reduce3, three, reduce5, five, pooled = widths

        def separable(reduce: int, width: int) -> None:
            net.convolution_norm(reduce)
            self._separable(net, width, 3)

        net.branches(
            partial(net.convolution_norm, one),
            partial(separable, reduce3, three),
            partial(separable, reduce5, five),
            _pooled(net, "max", pooled),
        )

    def _head(self, net: Net) -> None:
        net.pool("mean", (2, 7, 7), 1)
        net.convolution(self.classes, bias=True)
        net.mean()
        net.flatten()
        net.loss()


def _chain(net: Net, *steps: tuple[int, Extent]) -> Step:
    """Return convolutions one after another: (channels, kernel) of each."""

    def build() -> None:
        for width, kernel in steps:
            net.convolution_norm(width, kernel)

    return build


def _pooled(net: Net, kind: str, width: int) -> Step:
    """Return pooling of the neighbourhood, then a 1×1 convolution."""

    def build() -> None:
        net.pool("max" if kind == "max" else "mean", 3, 1, 1)
        net.convolution_norm(width)

    return build
