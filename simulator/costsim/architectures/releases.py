"""Published configurations that ship with costsim, by the names of their releases.

`scenarios/models/published/` has a file a family, a line a configuration: its names on the Hugging
Face hub, the parameters that it makes, where it was read, and the keys that decide the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from costsim.resources import data_folder


@dataclass(frozen=True, slots=True)
class Release:
    """A published model by name."""

    name: str
    parameters: int
    source: str
    config: Mapping[str, Any]


@lru_cache(maxsize=1)
def releases() -> Mapping[str, Release]:
    """Return all shipped configurations by the lower-case name, its owner included."""
    found: dict[str, Release] = {}
    for path in sorted((data_folder("scenarios") / "models" / "published").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry: dict[str, Any] = json.loads(line)
            for name in entry["names"]:
                one = Release(name, entry["parameters"], entry["source"], entry["config"])
                found[name.lower()] = one
    return found


@lru_cache(maxsize=1)
def _bare() -> Mapping[str, str]:
    """Return the full name by the name without its owner, where one owner alone has it."""
    owners: dict[str, list[str]] = {}
    for name in releases():
        owners.setdefault(name.partition("/")[2], []).append(name)
    return {bare: names[0] for bare, names in owners.items() if len(names) == 1}


def release(name: str) -> Release | None:
    """Return the configuration of a release, with or without its owner's name; None if unknown."""
    own = name.strip().lower()
    return releases().get(own) or releases().get(_bare().get(own, ""))
