"""Models of images, encoders and diffusion, which rows of training runs give by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from costsim.architectures.architecture import Architecture
from costsim.architectures.catalog import load_model
from costsim.architectures.pictures import with_image
from costsim.errors import CostsimError
from costsim.validation.runs import Run

FAMILIES = ("encoder", "vision", "diffusion")

# A model as a runs file writes it -> the catalog's, the size of its image, what that leaves out.
_NAMES: tuple[tuple[str, str, tuple[int, int] | None, str], ...] = (
    (r"(.*/)?bert-large.*", "bert-large", None, "masked words of a twentieth of the work"),
    (r"(.*/)?bert-base.*", "bert-base", None, "masked words of a tenth of the work"),
    (r"(.*/)?bart-large.*", "bart-large", None, ""),
    (r"efficientnet-widese-(b\d)", r"efficientnet-\1", None, "wider squeezes"),
    (r"stable-diffusion-(v?2.*|2)", "stable-diffusion-2.1-unet", (512, 512), "frozen encoders"),
    (r"stable-diffusion-(v?1.*|1)", "stable-diffusion-1.5-unet", (512, 512), "frozen encoders"),
    (r"stable-diffusion-3(-medium)?", "stable-diffusion-3-medium", None, "frozen encoders"),
    (r"flux-?1?", "flux.1-schnell", (256, 256), "frozen encoders"),  # as MLPerf trains it
    (r"efficientnet-?v2-([sml])", r"efficientnet-v2-\1", None, ""),
    (r"(sdxl|stable-diffusion-xl).*", "stable-diffusion-xl-unet", None, "frozen encoders"),
    (r"ssd300.*|ssd-resnet50.*", "ssd300-resnet50", None, "the choice of regions"),
    (r"mask-?rcnn.*", "maskrcnn-resnet50", None, "the choice of regions"),
    (r"retinanet-resnext50.*", "retinanet-resnext50", None, "the choice of regions"),
    (r"retinanet.*", "retinanet-resnet50", None, "the choice of regions"),
    (r"resnet-?50.*", "resnet50", None, ""),
)

_SHAPE = ("layers", "hidden", "heads", "vocab")


@dataclass(frozen=True, slots=True)
class Named:
    """The model of a row; `left_out` is work of its training that the architecture leaves out."""

    model: Architecture
    left_out: str = ""


def named_model(run: Run) -> Named | str:
    """Return the model that a row names, or why there is none."""
    name = run.text.get("model", "")
    if not name:
        return "`model` is empty"
    found = _named(name.lower().replace("_", "-"))
    if run.text.get("family") == "encoder":
        found = _shaped(run, found)
    return found or f"the catalog has no model `{name[:60]}`; `costsim models` lists what it has"


def _shaped(run: Run, named: Named | None) -> Named | None:
    """Return an encoder of the shape that a row states, where its name is not of that shape."""
    if not all(column in run.number for column in _SHAPE):
        return named
    layers, hidden, heads, vocabulary = (int(run.number[column]) for column in _SHAPE)
    if named is not None and named.model.depth == layers:
        return named
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": int(run.number.get("ffn", 4 * hidden)),
        "num_attention_heads": heads,
        "vocab_size": vocabulary,
    }
    try:
        return Named(load_model(config), "masked words")
    except CostsimError:
        return named


@lru_cache(maxsize=512)
def _named(name: str) -> Named | None:
    for pattern, target, image, left_out in _NAMES:
        match = re.fullmatch(pattern, name)
        if match:
            model = load_model(match.expand(target))
            if image is not None:
                model = with_image(model, image)
            return Named(model, left_out)
    try:
        return Named(load_model(name)) if not name.startswith((".", "/")) else None
    except CostsimError:
        return None
