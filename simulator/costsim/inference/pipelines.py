"""Pipelines that make images and video: denoisers by shape, what runs before and after them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any

from costsim.errors import UnknownNameError
from costsim.resources import packaged_yaml


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One pipeline of `scenarios/pipelines/diffusion.yaml`, which says what its keys mean."""

    id: str
    names: tuple[str, ...]
    joint: int
    single: int
    cross: int
    twice: int
    hidden: int
    heads: int
    ffn: float
    gated: bool
    linear: bool
    stride: tuple[int, int, int]
    passes: int
    text: int
    text_params: float
    decoder_flops: float
    unet_flops: float
    unet_params: float
    steps: int
    height: int
    width: int
    frames: int

    @property
    def layers(self) -> int:
        """Blocks of the denoiser."""
        return self.joint + self.single + self.cross

    @property
    def block_weights(self) -> float:
        """Weights that a latent token meets in one block, attention to text apart."""
        return self.hidden**2 * (4.0 + (3.0 if self.gated else 2.0) * self.ffn)

    @property
    def weights(self) -> float:
        """Weights of the denoiser."""
        if self.unet_params:
            return self.unet_params
        own = self.block_weights
        square = float(self.hidden**2)
        blocks = 2.0 * self.joint * own + (self.single + self.cross) * own
        return blocks + 4.0 * square * (self.cross + self.twice)

    def tokens(self, height: int, width: int, frames: int) -> int:
        """Return the latent tokens of an image or a clip."""
        first = 1 if frames > 1 and self.stride[0] > 1 else 0
        time = first + ceil((frames - first) / self.stride[0])
        return time * ceil(height / self.stride[1]) * ceil(width / self.stride[2])


@cache
def _pipelines() -> dict[str, Pipeline]:
    table: dict[str, dict[str, Any]] = packaged_yaml("scenarios", "pipelines/diffusion.yaml")
    found: dict[str, Pipeline] = {}
    for name, row in table.items():
        layers = row.get("layers", {})
        found[name] = Pipeline(
            id=name,
            names=tuple(row["names"]),
            joint=layers.get("joint", 0),
            single=layers.get("single", 0),
            cross=layers.get("cross", 0),
            twice=layers.get("twice", 0),
            hidden=row.get("hidden", 0),
            heads=row.get("heads", 1),
            ffn=row.get("ffn", 4.0),
            gated=row.get("gated", False),
            linear=row.get("linear", False),
            stride=tuple(row["stride"]),
            passes=row["passes"],
            text=row["text"],
            text_params=row["text_params"],
            decoder_flops=row["decoder_flops"],
            unet_flops=row.get("unet_flops", 0.0),
            unet_params=row.get("unet_params", 0.0),
            steps=row["steps"],
            height=row["height"],
            width=row["width"],
            frames=row.get("frames", 1),
        )
    return found


def pipeline_names() -> tuple[str, ...]:
    """Return the ids of all pipelines."""
    return tuple(_pipelines())


def load_pipeline(name: str) -> Pipeline:
    """Return the pipeline whose names are the longest that `name` contains.

    Raises:
        UnknownNameError: if there is none.
    """
    wanted = name.lower()
    best, length = None, 0
    for pipeline in _pipelines().values():
        for known in pipeline.names:
            if known in wanted and len(known) > length:
                best, length = pipeline, len(known)
    if best is None:
        raise UnknownNameError(
            f"unknown pipeline `{name[:60]}`", hint="known: " + ", ".join(_pipelines())
        )
    return best
