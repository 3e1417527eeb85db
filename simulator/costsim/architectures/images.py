"""Images as a stack sees them: patches become vectors, with what is added to or set beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Convolution
from costsim.architectures.vision.net import each
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchStem:
    """A product of each patch of an image with a weight; positions, class tokens, a norm.

    `image` is (height, width) of what is seen where a workload does not say. A `frames` deep patch
    spans as many frames, which a still image repeats. `positions` counts rows of learned positions,
    a table to look up or (`added`) a tensor.
    """

    image: tuple[Number, Number]
    patch: tuple[Number, Number]
    channels: Number = 3
    frames: Number = 1
    bias: bool = True
    class_tokens: Number = 0
    positions: Number = 0
    added: bool = False
    norm: NormStyle | None = None

    def _image(self, workload: Workload) -> tuple[Number, Number]:
        if workload.image is None:
            return self.image
        *_, height, width = each(workload.image, 2)
        return height, width

    def _patches(self, workload: Workload) -> Number:
        height, width = self._image(workload)
        return (height // self.patch[0]) * (width // self.patch[1])

    def inside(self, workload: Workload) -> Workload:
        """Return what passes through the layers: a position a patch, and the class tokens."""
        tokens = self._patches(workload) + self.class_tokens
        return replace(workload, tokens=tokens, context=None, generates=False)

    def build(self, x: Tensor) -> Tensor:
        """Record the patches' product and what follows it."""
        hidden, workload = x.width, x.workload
        patch = (self.frames, *self.patch)
        patches = x.make(
            Convolution,
            "patches",
            hidden,
            source=x.called("image").name,
            batch=workload.batch,
            sizes=(self.frames, *self._image(workload)),
            inputs=self.channels,
            outputs=hidden,
            kernel=patch,
            stride=patch,
            padded=(0, 0, 0),
            dilation=(1, 1, 1),
            bias=self.bias,
            leaf=True,
        )
        stream = patches
        if self.class_tokens != 0:
            stream = stream.learned("class", (self.class_tokens, hidden), elements=0)
        if self.positions != 0:
            shape = (self.positions, hidden)
            stream = stream.learned("positions", shape, lookup=not self.added)
        if self.norm is not None:
            stream = patches.made_by(stream).norm("norm", self.norm)
        return stream


def patches_of(image: tuple[int, int], patch: tuple[int, int]) -> int:
    """Return how many patches an image has."""
    return prod(side // step for side, step in zip(image, patch, strict=True))
