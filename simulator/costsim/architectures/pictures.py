"""Models that see pictures: which do, whether they see pixels or latents, and at another size."""

from __future__ import annotations

from dataclasses import replace

from costsim.architectures.architecture import Architecture
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.towers import TwoTowers
from costsim.architectures.workload import Shard, Workload
from costsim.errors import SpecError

WHOLE_RATIO = 0.05
"""Share of a layer's work that may stay whole under tensor parallelism: norms' and conditions'."""


def native_image(model: Architecture) -> tuple[int, ...] | None:
    """Return height and width (of a video, frames before them) that `model` sees; None if none."""
    net = _net(model)
    return None if net is None else net.image


def sees_latents(model: Architecture) -> bool:
    """Return whether `model` works on what a frozen encoder makes of pictures (diffusion)."""
    net = _net(model)
    return net is not None and net.latent


def with_image(model: Architecture, image: int | tuple[int, ...]) -> Architecture:
    """Return `model` made for another size of image; learned positions follow the size.

    Args:
        model: a net of images, or two towers of which one is.
        image: a side, or height and width (of a video, with frames before them), in pixels.

    Raises:
        SpecError: if the model sees no images, has other dimensions, or shrinks them to nothing.
    """
    net = _net(model)
    if net is None:
        raise SpecError(f"{model.name} sees no images", hint="leave `image` out")
    sides = image if isinstance(image, tuple) else (image,)
    sides = sides * 2 if len(sides) == 1 else sides
    if len(sides) not in (2, len(net.image)):
        what = "height and width" if len(net.image) == 2 else "frames, height and width"
        raise SpecError(f"an image of {model.name} has {what}", hint="or write one side: `224`")
    resized = replace(net, image=(*net.image[: -len(sides)], *sides))
    description = model.description
    whole = replace(description, vision=resized) if isinstance(description, TwoTowers) else resized
    try:
        whole.blocks(Workload(1, 1))
    except (SpecError, ArithmeticError, ValueError, IndexError):
        size = " x ".join(map(str, sides))
        native = " x ".join(map(str, net.image))
        raise SpecError(
            f"{model.name} shrinks an image of {size} pixels to nothing",
            hint=f"it is made for {native}",
        ) from None
    return replace(model, description=whole)


def divides(model: Architecture, degree: int) -> bool:
    """Return whether tensor parallelism of `degree` divides the work of the layers of `model`.

    Where more than `WHOLE_RATIO` of the FLOPs stays whole, as that of convolutions which no
    framework splits, every device of the group would compute the same over again.
    """
    layers = [block for block in model.blocks() if block.part == "layer"]
    whole = sum(float(block.count * block.flops()) for block in layers)
    shares = [(block.count, block.shard(Shard(degree))) for block in layers]
    share = sum(float(count * block.flops()) for count, block in shares)
    repeated = (share * degree / whole - 1) / max(degree - 1, 1)
    return repeated <= WHOLE_RATIO


def _net(model: Architecture) -> ImageNet | None:
    description = model.description
    if isinstance(description, TwoTowers):
        return description.vision
    return description if isinstance(description, ImageNet) else None
