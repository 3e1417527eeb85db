"""A decoder as JSON: what a model of another library was once seen to be, kept by its config.

Fields that have their default are left out. Only layers named here are read back, and every value
is a number, a text or such a layer: a file can describe a decoder and do nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

from costsim.architectures.layers import (
    FeedForward,
    HeadNorm,
    LatentSelfAttention,
    Layer,
    MixtureOfExperts,
    NormStyle,
    SelfAttention,
)
from costsim.architectures.transformer import Transformer

FORMAT = 1
"""Raised whenever blueprints are made in another way, so that old ones are not read."""

_KINDS: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (
        Transformer,
        Layer,
        SelfAttention,
        LatentSelfAttention,
        FeedForward,
        MixtureOfExperts,
        NormStyle,
        HeadNorm,
    )
}


def to_json(decoder: Transformer) -> dict[str, Any]:
    """Return a decoder as JSON says it."""
    return cast("dict[str, Any]", _written(decoder))


def from_json(values: object) -> Transformer:
    """Return the decoder that was written.

    Raises:
        ValueError: for anything else than a decoder.
    """
    try:
        found = _read(values)
    except (TypeError, KeyError) as error:
        raise ValueError(f"no decoder: {error}") from error
    if not isinstance(found, Transformer):
        raise ValueError("no decoder")
    return found


def _written(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        made: dict[str, object] = {"record": type(value).__name__}
        for one in fields(value):
            held = getattr(value, one.name)
            if one.default is MISSING or held != one.default:
                made[one.name] = _written(held)
        return made
    if isinstance(value, tuple):
        return [_written(one) for one in cast("tuple[object, ...]", value)]
    return value


def _read(value: object) -> Any:
    if isinstance(value, dict):
        held = dict(cast("dict[str, object]", value))
        kind = _KINDS[str(held.pop("record"))]
        return kind(**{key: _read(inner) for key, inner in held.items()})
    if isinstance(value, list):
        return tuple(_read(one) for one in cast("list[object]", value))
    return value


def _place(values: Mapping[str, Any], made_with: str) -> Path:
    """Return where the blueprint of a config lies, as `made_with` made it."""
    text = json.dumps([FORMAT, made_with, values], sort_keys=True, default=str)
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(cache).expanduser() / "costsim" / "blueprints"
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def kept(values: Mapping[str, Any], made_with: str) -> Transformer | None:
    """Return the decoder that was kept for a config; None where there is none that can be read."""
    try:
        return from_json(json.loads(_place(values, made_with).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def keep(values: Mapping[str, Any], made_with: str, decoder: Transformer) -> None:
    """Keep a decoder for a config; where nothing can be written, nothing is kept."""
    place = _place(values, made_with)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(to_json(decoder)), encoding="utf-8")
        part.replace(place)
    except OSError:
        return
