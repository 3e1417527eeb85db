"""EfficientNet (Tan & Le 2019) and V2 (2021): one net, scaled in width and depth."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

from costsim.architectures.vision.inverted import InvertedNet, Stage
from costsim.architectures.vision.net import fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficientNet(InvertedNet):
    """B0 to B7: channels and depths are B0's, times a factor each."""

    width_scale: float = 1.0
    """Factor of all channels."""
    depth_scale: float = 1.0
    """Factor of all depths, rounded up."""
    wide_squeeze: bool = False
    """Whether squeezes are over the inner channels (NVIDIA's EfficientNet-WideSE)."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        rows = (
            (1, 3, 1, 16, 1),
            (6, 3, 2, 24, 2),
            (6, 5, 2, 40, 2),
            (6, 3, 2, 80, 3),
            (6, 5, 1, 112, 3),
            (6, 5, 2, 192, 4),
            (6, 3, 1, 320, 1),
        )
        return tuple(
            Stage(
                expansion=expansion,
                kernel=kernel,
                stride=stride,
                width=fitted(width * self.width_scale),
                depth=ceil(depth * self.depth_scale),
                squeeze=0.25,
                squeezed="inner" if self.wide_squeeze else "inputs",
                function="silu",
            )
            for expansion, kernel, stride, width, depth in rows
        )

    @property
    def stem_width(self) -> int:
        return fitted(32 * self.width_scale)

    @property
    def last_width(self) -> int:
        return 4 * self.stages[-1].width

    @property
    def function(self) -> str:
        return "silu"

    @property
    def squeeze_function(self) -> str:
        return "silu"


# Expansion, stride, channels, depth; the first three stages are fused.
_SIZES: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "small": (
        (1, 1, 24, 2),
        (4, 2, 48, 4),
        (4, 2, 64, 4),
        (4, 2, 128, 6),
        (6, 1, 160, 9),
        (6, 2, 256, 15),
    ),
    "medium": (
        (1, 1, 24, 3),
        (4, 2, 48, 5),
        (4, 2, 80, 5),
        (4, 2, 160, 7),
        (6, 1, 176, 14),
        (6, 2, 304, 18),
        (6, 1, 512, 5),
    ),
    "large": (
        (1, 1, 32, 4),
        (4, 2, 64, 7),
        (4, 2, 96, 7),
        (4, 2, 192, 10),
        (6, 1, 224, 19),
        (6, 2, 384, 25),
        (6, 1, 640, 7),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficientNetV2(InvertedNet):
    """Fused inverted residuals first, then those of the first version."""

    size: Literal["small", "medium", "large"]
    """Which of the three that the paper gives."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(
            Stage(
                expansion=expansion,
                stride=stride,
                width=width,
                depth=depth,
                fused=index < 3,
                squeeze=0.25,
                function="silu",
            )
            for index, (expansion, stride, width, depth) in enumerate(_SIZES[self.size])
        )

    @property
    def stem_width(self) -> int:
        return self.stages[0].width

    @property
    def last_width(self) -> int:
        return 1280

    @property
    def function(self) -> str:
        return "silu"

    @property
    def squeeze_function(self) -> str:
        return "silu"
