"""Families by the name that a model's YAML gives them under `vision: {family: …}`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from costsim.architectures.vision.description import ImageNet
from costsim.documents import Document
from costsim.errors import Problem, SpecError, suggestion

# name → its module and class, imported on use
FAMILIES: Mapping[str, tuple[str, str]] = {
    "alexnet": ("alexnet", "AlexNet"),
    "vgg": ("alexnet", "Vgg"),
    "resnet": ("resnet", "ResNet"),
    "video-resnet": ("resnet", "VideoResNet"),
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
    fields = {key: value for key, value in values.items() if key != "family"}
    name = values.get("family")
    if not isinstance(name, str) or name not in FAMILIES:
        location = document.locate(("vision", "family"))
        said = "missing `family`" if name is None else f"unknown `family` `{name}`"
        hint = suggestion(str(name or ""), FAMILIES)
        raise SpecError(Problem(said, location, hint))
    family = family_class(name)
    if trusted:
        return family(**{key: _frozen(value) for key, value in fields.items()})
    return _checked(family, fields, document)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _checked(family: type[ImageNet], fields: Mapping[str, Any], document: Document) -> ImageNet:
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    config = ConfigDict(extra="forbid", strict=True)
    adapter = TypeAdapter(family, config=config)
    try:
        return adapter.validate_python(fields)
    except ValidationError as error:
        problems = [
            Problem(f"{detail['msg']}", document.locate(("vision", *detail["loc"])))
            for detail in error.errors(include_url=False)
        ]
        raise SpecError(problems) from None
