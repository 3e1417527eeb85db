"""A timm release's config.json: a net by its name, as timm calls it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# timm's name -> the same net in the catalogue; sizes of images and patches as trained
_NETS = {
    r"resnet(18|34|50|101|152)": r"resnet\1",
    r"resnext50_32x4d": "resnext50-32x4d",
    r"resnext101_(32x8d|64x4d)": r"resnext101-\1",
    r"wide_resnet(50|101)_2": r"wide-resnet\1-2",
    r"densenet(121|161|169|201)": r"densenet\1",
    r"vgg(11|13|16|19)": r"vgg\1",
    r"vgg(11|13|16|19)_bn": r"vgg\1-bn",
    r"vit_(base|large)_patch(16|32)_224": r"vit-\1-\2",
    r"vit_base_patch16_384": "vit-b-16-384",
    r"vit_huge_patch14_224": "vit-h-14",
    r"convnext_(tiny|small|base|large)": r"convnext-\1",
    r"swin_(tiny|small|base)_patch4_window7_224": r"swin-\1",
    r"efficientnet_b(\d)": r"efficientnet-b\1",
    r"tf_efficientnet_b(\d)": r"efficientnet-b\1",
    r"mobilenetv2_100": "mobilenet-v2",
    r"mobilenetv3_(large|small)_100": r"mobilenet-v3-\1",
    r"regnet([xy])_(\d{3})": "",
    r"mnasnet_100": "mnasnet1-0",
    r"inception_v3": "inception-v3",
    r"googlenet": "googlenet",
    r"alexnet": "alexnet",
}
_SHORT = {"base": "b", "large": "l", "huge": "h", "tiny": "t", "small": "s"}
_REGNETS = {
    "004": "400mf",
    "008": "800mf",
    "016": "1-6gf",
    "032": "3-2gf",
    "080": "8gf",
    "160": "16gf",
    "320": "32gf",
    "1280": "128gf",
}


def is_timm(values: Mapping[str, Any]) -> bool:
    """Return whether a config.json is timm's: it names a net and says nothing of its sizes."""
    return isinstance(values.get("architecture"), str) and (
        "pretrained_cfg" in values or "num_features" in values or "num_classes" in values
    )


def catalogue_name(architecture: str) -> str | None:
    """Return the catalogue's name of the net that timm calls `architecture`."""
    plain = architecture.split(".")[0]
    for pattern, name in _NETS.items():
        found = re.fullmatch(pattern, plain)
        if found is None:
            continue
        if pattern.startswith("regnet"):
            size = _REGNETS.get(found[2])
            return size and f"regnet-{found[1]}-{size}"
        name = found.expand(name)
        if name.startswith(("vit-", "swin-")):
            stem, _, rest = name.partition("-")
            size, _, patch = rest.partition("-")
            return "-".join(filter(None, (stem, _SHORT.get(size, size), patch)))
        return name
    return None
