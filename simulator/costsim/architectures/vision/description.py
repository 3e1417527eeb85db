"""What every net of images has: the image it is made for, and classes that it tells apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from costsim.algebra import Number
from costsim.architectures.block import Block
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.vision.net import Net, each
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNet(ABC):
    """A net of images of a native size; a workload's batch counts images.

    `latent` nets work on what a frozen encoder made of the images.
    """

    latent: ClassVar[bool] = False
    image: tuple[int, ...] = (224, 224)
    """Height and width that the model is made for; of a video, frames before them."""
    channels: int = 3
    """Colours of a pixel."""
    classes: int = 1000
    """Classes that the head tells apart."""

    @property
    def context_limit(self) -> Number | None:
        return None

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return stem, layers and head as they work on `workload`."""
        net = Net(workload.batch, self.channels, self.sizes(workload))
        self.build(net)
        return net.blocks()

    def cache(self, batch: Number, tokens: Number) -> tuple[tuple[CacheTensor, Number], ...]:
        """Return nothing: images are not generated token by token."""
        del batch, tokens
        return ()

    def sizes(self, workload: Workload) -> tuple[Number, ...]:
        """Return the dimensions of an image; one number is the side of a square."""
        if workload.image is None:
            return self.image
        sides = each(workload.image, 2)
        return (*self.image[: -len(sides)], *sides)

    @abstractmethod
    def build(self, net: Net) -> None:
        """Compose the net."""
