"""Families by the name that a model's YAML gives them under `vision: {family: …}`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast, get_type_hints

from costsim.architectures.vision.description import ImageNet
from costsim.architectures.workload import Workload
from costsim.documents import Document
from costsim.errors import Problem, SpecError, suggestion

MAX_SIZE = 10**9  # a dimension beyond this is a slip of the pen, not a net

MAX_DEPTH = 10_000  # likewise, of layers
_DEPTHS = ("depth", "depths", "layers", "joint_layers", "transformers", "middle_transformers")
_FILLED = ("depth", "depths")  # of which none may be empty: a stage has a layer at least

# name → its module and class, imported on use
FAMILIES: Mapping[str, tuple[str, str]] = {
    "alexnet": ("alexnet", "AlexNet"),
    "vgg": ("alexnet", "Vgg"),
    "resnet": ("resnet", "ResNet"),
    "video-resnet": ("resnet", "VideoResNet"),
    "ssd": ("detection", "Ssd"),
    "retinanet": ("detection", "RetinaNet"),
    "mask-rcnn": ("detection", "MaskRcnn"),
    "densenet": ("densenet", "DenseNet"),
    "googlenet": ("inception", "GoogLeNet"),
    "inception-v3": ("inception", "InceptionV3"),
    "s3d": ("inception", "S3D"),
    "squeezenet": ("squeezenet", "SqueezeNet"),
    "shufflenet-v2": ("shufflenet", "ShuffleNetV2"),
    "mobilenet-v1": ("mobilenet", "MobileNetV1"),
    "mobilenet-v2": ("mobilenet", "MobileNetV2"),
    "mobilenet-v3": ("mobilenet", "MobileNetV3"),
    "mnasnet": ("mobilenet", "MnasNet"),
    "efficientnet": ("efficientnet", "EfficientNet"),
    "efficientnet-v2": ("efficientnet", "EfficientNetV2"),
    "regnet": ("regnet", "RegNet"),
    "convnext": ("convnext", "ConvNext"),
    "vit": ("vit", "VisionTransformer"),
    "swin": ("swin", "Swin"),
    "maxvit": ("maxvit", "MaxVit"),
    "mvit": ("mvit", "MultiscaleVit"),
    "unet": ("unet", "UNet"),
    "autoencoder": ("unet", "Autoencoder"),
    "dit": ("dit", "DiffusionTransformer"),
    "mmdit": ("dit", "MultimodalDiffusionTransformer"),
    "hunyuan-dit": ("hunyuan_dit", "HunyuanDiT"),
}


def family_class(name: str) -> type[ImageNet]:
    """Return the class of a family."""
    module, attribute = FAMILIES[name]
    return getattr(import_module(f"costsim.architectures.vision.{module}"), attribute)


def read_vision(values: Mapping[str, Any], document: Document, *, trusted: bool) -> ImageNet:
    """Return the net that a mapping describes: `family`, and the fields of that family.

    Args:
        values: what stands under `vision`.
        document: the file that it stands in, for the places of errors.
        trusted: whether its values were checked before.

    Raises:
        SpecError: with every field that is missing, unknown or of a wrong type.
    """
    fields = {key: _frozen(value) for key, value in values.items() if key != "family"}
    name = values.get("family")
    if not isinstance(name, str) or name not in FAMILIES:
        said = "missing `family`" if name is None else f"unknown `family` `{str(name)[:60]}`"
        hint = f"families: {', '.join(FAMILIES)}"
        if name is not None:
            hint = suggestion(str(name), FAMILIES)
        raise SpecError(Problem(said, document.locate(("vision", "family")), hint))
    family = family_class(name)
    return family(**fields) if trusted else _checked(family, fields, document)


def _frozen(value: Any) -> Any:
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


def _checked(family: type[ImageNet], fields: Mapping[str, Any], document: Document) -> ImageNet:
    """Return the net after checking names, types and ranges of fields, and that its sizes fit.

    Raises:
        SpecError: if any is wrong.
    """
    known = {field.name: field for field in dataclasses.fields(family)}
    problems: list[Problem] = []

    def problem(field: str, message: str, hint: str | None = None) -> None:
        place = document.locate(("vision", field), key=field not in known)
        problems.append(Problem(f"`{field}` {message}", place, hint))

    for field in fields:
        if field not in known:
            problem(field, "is no field of this family", suggestion(field, known))
    for name, field in known.items():
        if name in fields:
            largest = MAX_DEPTH if name in _DEPTHS else MAX_SIZE
            least = 1 if name in _FILLED else 0
            complaint = _complaint(get_type_hints(family)[name], fields[name], least, largest)
            if complaint:
                problem(name, complaint)
        elif field.default is dataclasses.MISSING:
            problem(name, "is missing")
    if problems:
        raise SpecError(problems)
    net = family(**fields)
    try:
        net.blocks(Workload(1, 1))
    except (ArithmeticError, ValueError, IndexError) as error:
        message = f"these fields make no net: {error}"
        raise SpecError(message, location=document.locate(("vision",))) from None
    return net


def _complaint(hint: Any, value: Any, least: int, largest: int) -> str:
    """Return what is wrong with a field's value, if anything."""
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        message: str = error.errors(include_url=False)[0]["msg"]
        return f"is wrong: {message[0].lower()}{message[1:]}"
    numbers = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else (value,)
    if any(
        isinstance(number, int | float) and not least <= number <= largest for number in numbers
    ):
        return f"must be from {least} to {largest:,}"
    return ""
