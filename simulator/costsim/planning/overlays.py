"""Overlay files: constants refined by `costsim calibrate`, read and checked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from pydantic import Field

from costsim.documents import load_document, parse_as
from costsim.errors import Problem, SpecError, suggestion
from costsim.hardware.calibration import class_names
from costsim.planning.scenario import Spec
from costsim.training.overlay import LOSSES_REFINED, SOFTWARE_REFINED, Overlay, most_of
from costsim.training.software import software_names

_Table = dict[str, dict[str, Annotated[float, Field(gt=0, le=1e6, strict=True)]]]
_MOST = {"straggler_ratio": 10.0, "launch_s": 0.1, "step_s": 1000.0}
"""Beyond which a constant is a slip."""


class Within(Spec):
    """Multipliers of an estimate between which 8 of 10 measured steps fall."""

    low_ratio: Annotated[float, Field(ge=0.001, le=1, strict=True)]
    high_ratio: Annotated[float, Field(ge=1, le=1000, strict=True)]


class OverlayFile(Spec):
    """Constants of training steps as measured on a cluster, as `costsim calibrate` writes them."""

    losses: _Table = Field(default_factory=dict)
    """By class of accelerator: what a whole step loses against its kernels and transfers."""
    software: _Table = Field(default_factory=dict)
    """By profile of the software: passes over memory, launches, work once a step."""
    within: dict[str, Within] = Field(default_factory=dict)
    """By class of accelerator: how far its measured steps lay from estimates, left out in turn."""
    fit: dict[str, float] = Field(default_factory=dict)
    """How well they fit the rows that they come from; not read."""


def read_overlay(path: str | Path) -> Overlay:
    """Return the overlay of a file.

    Raises:
        SpecError: with every class, profile and constant that does not exist, at its place.
    """
    document = load_document(path)
    spec = parse_as(document, OverlayFile)
    problems: list[Problem] = []
    for table, owners, fields in (
        ("losses", class_names(), LOSSES_REFINED),
        ("software", software_names(), SOFTWARE_REFINED),
    ):
        for owner, constants in getattr(spec, table).items():
            wrong = [] if owner in owners else [((table, owner), owner, owners)]
            wrong += [((table, owner, f), f, fields) for f in constants if f not in fields]
            problems += [
                Problem(
                    f"`{table}.{owner}.{name}` is at most {_MOST[name]:g}, is {value:g}",
                    document.locate((table, owner, name)),
                )
                for name, value in constants.items()
                if value > _MOST.get(name, math.inf)
            ]
            problems += [
                Problem(
                    f"`{table}` knows no `{name}`",
                    document.locate(place, key=True),
                    suggestion(name, known),
                )
                for place, name, known in wrong
            ]
    problems += [
        Problem(
            f"`{field}` of {value:g} makes steps of {owner} faster than the hardware allows",
            document.locate(("losses", owner, field)),
            f"at most {most:.4g}",
        )
        for owner, constants in spec.losses.items()
        for field, value in constants.items()
        if owner in class_names() and value > 1.001 * (most := most_of(owner, field))
    ]
    problems += [
        Problem(
            f"`within` knows no `{name}`",
            document.locate(("within", name), key=True),
            suggestion(name, class_names()),
        )
        for name in spec.within
        if name not in class_names()
    ]
    if problems:
        raise SpecError(problems)
    within = {name: (one.low_ratio, one.high_ratio) for name, one in spec.within.items()}
    return Overlay(spec.losses, spec.software, within)
