"""What flows through a net, and how its numbers are scaled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias, cast

from costsim.algebra import Number
from costsim.architectures.operators import Sizes

Step: TypeAlias = Callable[[], None]

Extent: TypeAlias = Number | tuple[Number, ...]
"""One number for all dimensions, or one for each."""

Part: TypeAlias = Literal["stem", "layer", "head"]


@dataclass(frozen=True, slots=True)
class Map:
    """What flows through a net: for each image, `channels` values at every position.

    `sizes` is (height, width), (frames, height, width), (tokens,), or () for one vector. A `leaf`
    depends on nothing that is trained. `split` says how it lies on tensor-parallel devices.
    """

    name: str
    channels: Number
    sizes: Sizes
    leaf: bool = False
    split: Literal["sequence", "columns"] | None = None

    @property
    def positions(self) -> Number:
        return prod(self.sizes)


def each(extent: Extent, dimensions: int) -> tuple[Number, ...]:
    """Return one number for each dimension."""
    if isinstance(extent, tuple):
        return cast("tuple[Number, ...]", extent)
    return (extent,) * dimensions


def scaled(channels: Number, ratio: float) -> Number:
    """Return `ratio` times as many channels, rounded down."""
    return channels * int(ratio) if ratio == int(ratio) else int(channels * ratio)


def fitted(value: float, divisor: int = 8, lowest: int | None = None) -> int:
    """Return a scaled channel count as mobile nets round it: to `divisor`, never 10 % down."""
    rounded = max(lowest or divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor
