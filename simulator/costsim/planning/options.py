"""The option of compression, an axis that every workload crosses: what it is and what it takes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from costsim.architectures import Architecture
from costsim.compression.compressing import Compression, compress
from costsim.compression.quality import expected
from costsim.compression.recipes import Given
from costsim.planning.lookup import Lookup
from costsim.planning.scenario import OneOption


@dataclass(frozen=True, slots=True)
class Loss:
    """The largest published loss of quality, as a ratio; unknown where nothing is on record."""

    known: bool
    ratio: float = 0.0
    text: str = ""

    @property
    def worst(self) -> float:
        """What to compare by: what is unknown may be anything."""
        return self.ratio if self.known else math.inf


@dataclass(frozen=True, slots=True)
class Option:
    """A model as it may be run: as it is, or compressed."""

    compression: Compression
    loss: Loss

    @property
    def name(self) -> str:
        """What reports call it: its recipes, a student by its name."""
        names = [
            re.sub(r"^distill:student=([^:]+).*", r"distill \1", n) for n in self.compression.names
        ]
        return " + ".join(names) or "none"

    @property
    def model(self) -> Architecture:
        """The model that is run."""
        return self.compression.after

    @property
    def plain(self) -> bool:
        """Whether nothing is compressed."""
        return not self.compression.applied

    @property
    def sources(self) -> dict[str, str]:
        """Where its recipes come from."""
        return {
            f"recipe {one.name}": one.recipe.source
            for one in self.compression.applied
            if one.recipe.source
        }

    def part(self, count: int) -> Option:
        """Return the option with its first `count` recipes alone."""
        whole = self.compression
        return option_of(Compression(whole.before, whole.applied[:count], whole.dtype))


def option_of(compression: Compression) -> Option:
    """Return a compression as an option, with what was published of its quality."""
    if not compression.applied:
        return Option(compression, Loss(True, 0.0, "unchanged"))
    changes = expected(compression)
    if not changes:
        return Option(compression, Loss(False, text="unknown"))
    worst = max(max(abs(change.low), abs(change.high)) for change in changes)
    text = "; ".join(
        f"{change.metric} {change.low:+.1%}"
        + ("" if change.low == change.high else f" to {change.high:+.1%}")
        for change in changes
    )
    return Option(compression, Loss(True, worst, text))


def options_of(
    model: Architecture, stated: Sequence[OneOption], folder: Path, lookup: Lookup
) -> tuple[Option, ...]:
    """Return the stated options of a model; what is wrong with one is noted at its place."""
    found: list[Option] = []
    for place, given in enumerate(stated):
        several = given if isinstance(given, tuple) else (given,)
        recipes: list[Given] = [_from_folder(one, folder) for one in several]
        made = lookup.attempt(("compression", place), partial(compress, model, recipes))
        if any(given == before for before in stated[:place]):
            lookup.note("the same option stands above already", ("compression", place))
        if made is not None:
            found.append(option_of(made))
    return tuple(found)


def _from_folder(given: str | dict[str, Any], folder: Path) -> Given:
    """Return a recipe as it was given; the path of a file starts at the scenario's folder."""
    is_file = isinstance(given, str) and given.lower().endswith((".yaml", ".yml", ".json"))
    return str(folder / str(given)) if is_file else given
