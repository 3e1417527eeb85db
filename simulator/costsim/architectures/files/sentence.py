"""`modules.json` of sentence-transformers: an encoder, and what stands on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from costsim.architectures.files.described import beside, fail


def encoder_of(modules: list[Any], path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the config.json of the first module, and notes on the others.

    Raises:
        SpecError: if the first is no transformer, or its config is missing.
    """
    listed = [cast("dict[str, Any]", one) for one in modules if isinstance(one, dict)]
    first: dict[str, Any] = listed[0] if listed else {}
    kind = str(first.get("type", "")).rpartition(".")[2]
    if kind not in ("Transformer", "CLIPModel", "WhisperTransformer"):
        raise fail(path, f"the first module is {kind or 'nothing'}, not a Transformer")
    inner = beside(path.parent, str(first.get("path", "") or "."))
    config = inner / "config.json"
    if not config.is_file():
        raise fail(
            path,
            f"the encoder's config.json is missing: {config}",
            "give the whole folder of the release",
        )
    notes: list[str] = []
    for module in listed[1:]:
        name = str(module.get("type", "")).rpartition(".")[2][:40]
        if name == "Dense":
            notes.append("a dense layer on the pooled result is not counted")
        elif name not in ("Pooling", "Normalize"):
            notes.append(f"a module `{name}` on the encoder is not counted")
    return config, tuple(notes)
