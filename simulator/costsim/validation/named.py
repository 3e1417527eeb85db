"""Models of images, encoders and diffusion, which rows of training runs give by name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from costsim.architectures.architecture import Architecture
from costsim.architectures.catalog import load_model
from costsim.architectures.pictures import native_image, with_image
from costsim.errors import CostsimError
from costsim.resources import packaged_yaml
from costsim.validation.configs import config_of
from costsim.validation.runs import Run

FAMILIES = ("encoder", "vision", "diffusion")

_SHAPE = ("layers", "hidden", "heads", "vocab")


@dataclass(frozen=True, slots=True)
class Named:
    """The model of a row; `left_out` is work of its training that the architecture leaves out.

    `pads` says whether its pre-training leaves padding out; `counted` the parameters, in billions,
    that its maker's tables give it, where its published code has others.
    """

    model: Architecture
    left_out: str = ""
    pads: bool = False
    counted: float = 0.0


def named_model(run: Run, folder: Path | None = None) -> Named | str:
    """Return the model that a row names, or why there is none.

    Args:
        run: the row.
        folder: where a path in its column `config` starts.
    """
    found = _found(run, folder)
    side = run.number.get("img_size")
    if side and isinstance(found, Named) and native_image(found.model) is not None:
        return replace(found, model=with_image(found.model, (int(side), int(side))))
    return found


def _found(run: Run, folder: Path | None) -> Named | str:
    if (described := config_of(run, folder)) is not None:
        return Named(described)
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
    ffn, kv_heads = run.number.get("ffn"), run.number.get("kv_heads")
    if kv_heads and kv_heads != run.number["heads"]:
        run.account.note("unused", f"kv_heads {kv_heads:g} of an encoder", column="kv_heads")
    layers, hidden, heads, vocabulary = (int(run.number[column]) for column in _SHAPE)
    if named is not None and named.model.depth == layers:
        return named
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": int(ffn or 4 * hidden),
        "num_attention_heads": heads,
        "vocab_size": vocabulary,
    }
    try:
        return Named(load_model(config), "masked words", pads=bool(named and named.pads))
    except CostsimError:
        return named


@lru_cache(maxsize=512)
def _named(name: str) -> Named | None:
    for pattern, line in _table():
        match = pattern.fullmatch(name)
        if match:
            model = load_model(match.expand(line["model"]))
            if "image" in line:
                model = with_image(model, tuple(line["image"]))
            return Named(
                model, line.get("left_out", ""), line.get("pads", False), line.get("counted", 0.0)
            )
    try:
        return Named(load_model(name)) if not name.startswith((".", "/")) else None
    except CostsimError:
        return None


@cache
def _table() -> tuple[tuple[re.Pattern[str], dict[str, Any]], ...]:
    lines: list[dict[str, Any]] = packaged_yaml("hardware_specs", "runs/models.yaml")
    return tuple((re.compile(line["match"]), line) for line in lines)
