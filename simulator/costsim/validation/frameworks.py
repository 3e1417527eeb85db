"""What a framework's name means, from `hardware_specs/runs/frameworks.yaml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from costsim.resources import packaged_yaml
from costsim.training.recompute import Recompute
from costsim.validation.runs import Run
from costsim.validation.words import whole_words

DEFAULT = "megatron-core"
"""The profile where a file names no framework, or one that is not known, which is said."""


@dataclass(frozen=True, slots=True)
class Framework:
    """A line of the table: what a framework does where its user asks for nothing else.

    Attributes:
        profile: of `calibration/software.yaml`, or "eager": plain PyTorch of examples.
        known: whether the name is.
        recompute: modes that it chooses of by itself, by precision recipe or for "all" others.
        attention: "unfused" where scores pass through memory, on devices of `vendors`.
        unless: words of the precision that say otherwise.
        traits: of its profile, what this release had not yet, or had already.
    """

    profile: str = DEFAULT
    known: bool = False
    recompute: Mapping[str, tuple[Recompute, ...]] = field(default_factory=dict[str, Any])
    attention: str = ""
    vendors: tuple[str, ...] = ()
    unless: str = ""
    traits: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def plain(self) -> bool:
        """Whether it is plain PyTorch with a copy on every device, as in examples."""
        return self.profile == "eager"

    def usual_recompute(self, recipe: str) -> tuple[Recompute, ...]:
        """Return the modes that it chooses of by itself; none, if it leaves that to its user."""
        return self.recompute.get(recipe, self.recompute.get("all", ()))

    def lacks_fused_attention(self, precision_words: str, vendor: str) -> bool:
        """Return whether scores pass through memory."""
        if self.attention != "unfused" or vendor not in self.vendors:
            return False
        return whole_words(self.unless).search(precision_words) is None


def framework_of(run: Run, table: Literal["language", "samples"]) -> Framework:
    """Return what the framework of a row does; a name that is not known is noted.

    Args:
        run: the row.
        table: that of software that trains language models, or on samples.
    """
    name = run.text.get("framework", "")
    found = framework_named(name, table)
    if name and not found.known:
        run.account.note("unknown", f"framework `{name[:60]}`", column="framework")
    return found


@cache
def framework_named(name: str, table: Literal["language", "samples"] = "language") -> Framework:
    """Return what `name` means; the default where it is not known."""
    default = Framework(DEFAULT if table == "language" else "eager")
    return next((found for pattern, found in _table(table) if pattern.search(name)), default)


@cache
def _table(name: str) -> tuple[tuple[re.Pattern[str], Framework], ...]:
    tables = packaged_yaml("hardware_specs", "runs/frameworks.yaml")
    lines: list[dict[str, Any]] = tables[name]
    return tuple((whole_words(line["match"]), _framework(line)) for line in lines)


def _framework(line: Mapping[str, Any]) -> Framework:
    modes: dict[str, list[Recompute]] = line.get("recompute", {})
    return Framework(
        profile=line["profile"],
        known=True,
        recompute={recipe: tuple(names) for recipe, names in modes.items()},
        attention=line.get("attention", ""),
        vendors=tuple(line.get("vendors", ())),
        unless=line.get("unless", ""),
        traits=line.get("traits", {}),
    )
