"""What a reader of files returns, and the limits that all of them keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from costsim.architectures.quantization import Quantization
from costsim.errors import Location, SpecError

MAX_HEADER_BYTES = 16_000_000  # of tensors' names, types and shapes; releases have at most a few MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """Low-rank matrices that a release puts beside those of a base model."""

    rank: int
    targets: tuple[str, ...]
    magnitudes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A model as some file other than a config.json describes it.

    Attributes:
        fields: of a model's description: `huggingface`, `vision`, or `extends` another model.
        notes: what a user should know of the reading.
        quantization: how weights are stored, where the file itself says so.
        adapter: what stands beside the weights of the model that it extends.
        folder: where the model that it extends lies, if it is not a name.
    """

    fields: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    quantization: Quantization | None = None
    adapter: Adapter | None = None
    folder: Path | None = None


def fail(path: Path | str, message: str, hint: str | None = None) -> SpecError:
    """Return the error that a file is not what it should be."""
    return SpecError(message, location=Location(str(path)), hint=hint)


def beside(folder: Path, name: str) -> Path:
    """Return the file or folder that a file in `folder` names, which must lie inside.

    A snapshot of the Hub's cache consists of links into the folder of its own repository.

    Raises:
        SpecError: if it lies elsewhere.
    """
    root = folder.resolve()
    if folder.parent.name == "snapshots":
        root = folder.parent.parent.resolve()
    found = (folder / name).resolve()
    if not found.is_relative_to(root):
        raise fail(folder, f"`{name[:80]}` leads out of the folder")
    return folder / name
