"""The points of a study: settings by index, made when asked for, never held together."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from costsim.errors import Location, Problem, SpecError
from costsim.sweeps.drawing import position
from costsim.sweeps.spec import Bound, Range, Steps, StudyFile

_WRITTEN = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*")
Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Interval:
    """A range read: numbers, and the unit that both ends are written with."""

    low: float
    high: float
    unit: str
    log: bool
    whole: bool

    def at(self, share: float) -> int | float | str:
        """Return the value that far from the lower to the upper end, as a scenario writes it."""
        if share in (0.0, 1.0):
            number = self.high if share else self.low
        elif self.log:
            number = self.low * (self.high / self.low) ** share
        else:
            number = self.low + (self.high - self.low) * share
        rounded = round(number) if self.whole else float(f"{number:.12g}")
        return f"{rounded:.12g} {self.unit}" if self.unit else rounded


@dataclass(frozen=True, slots=True)
class Points:
    """Points of a study in order: axes of `vary`, rows, sample; the last turns fastest."""

    vary: Mapping[str, tuple[Any, ...] | tuple[Interval, int]]
    rows: tuple[Settings, ...]
    drawn: Mapping[str, tuple[Any, ...] | Interval]
    draws: int
    seed: int

    @property
    def keys(self) -> tuple[str, ...]:
        """Every dotted key that is set at some point, in the order of the columns."""
        return tuple(
            dict.fromkeys((*self.vary, *(k for row in self.rows for k in row), *self.drawn))
        )

    @property
    def count(self) -> int:
        """How many points there are."""
        varied = math.prod(_length(axis) for axis in self.vary.values())
        return varied * max(1, len(self.rows)) * max(1, self.draws)

    def at(self, index: int) -> Settings:
        """Return what is set at a point, by dotted key."""
        found: Settings = {}
        index, draw = divmod(index, max(1, self.draws))
        for axis, (key, over) in enumerate(self.drawn.items()):
            share = position(draw, self.draws, self.seed, axis)
            whole = isinstance(over, Interval)
            found[key] = over.at(share) if whole else over[int(share * len(over))]
        index, row = divmod(index, max(1, len(self.rows)))
        if self.rows:
            found |= self.rows[row]
        for key in reversed(tuple(self.vary)):
            axis = self.vary[key]
            index, step = divmod(index, _length(axis))
            found[key] = _value(axis, step)
        return {key: found[key] for key in self.keys if key in found}


def _length(axis: tuple[Any, ...] | tuple[Interval, int]) -> int:
    return axis[1] if isinstance(axis[0], Interval) else len(axis)


def _value(axis: tuple[Any, ...] | tuple[Interval, int], step: int) -> Any:
    if isinstance(axis[0], Interval):
        return axis[0].at(step / (axis[1] - 1))
    return axis[step]


Place = tuple[str | int, ...]


def points_of(study: StudyFile) -> tuple[Points, list[tuple[str, Place, str | None]]]:
    """Return the points of a study, and what is wrong with them: message, place and hint."""
    wrong: list[tuple[str, Place, str | None]] = []

    def interval(place: Place, given: Range) -> Interval:
        try:
            return _interval(given)
        except SpecError as error:
            (problem,) = error.problems
            wrong.append((f"`{place[-1]}`: {problem.message}", place, problem.hint))
            return Interval(0.0, 1.0, "", False, False)

    vary: dict[str, tuple[Any, ...]] = {
        key: (interval(("vary", key), one), one.steps) if isinstance(one, Steps) else one
        for key, one in study.vary.items()
    }
    sample = study.sample
    drawn: dict[str, tuple[Any, ...] | Interval] = {
        key: interval(("sample", "over", key), one) if isinstance(one, Range) else one
        for key, one in (sample.over.items() if sample else ())
    }
    rows = study.listed or ()
    if not vary and not rows and not drawn:
        wrong.append(("nothing is varied", (), "add `vary:`, `list:` or `sample:`"))
    wrong += _clashes(study)
    count, seed = (sample.latin_hypercube, sample.seed) if sample else (0, 0)
    return Points(vary, tuple(rows), drawn, count, seed), wrong


def _interval(given: Range) -> Interval:
    (low, unit), (high, other) = _number(given.start), _number(given.to)
    if unit != other:
        words = f"`{given.start}` and `{given.to}` have different units"
        raise SpecError(words, hint="write both ends of a range in one unit")
    if not low < high:
        raise SpecError(f"`from: {given.start}` is not below `to: {given.to}`")
    if given.scale == "log" and low <= 0:
        raise SpecError("a range on a log scale starts above 0", hint="use `scale: linear`")
    return Interval(low, high, unit, given.scale == "log", given.whole)


def _number(bound: Bound) -> tuple[float, str]:
    matched = _WRITTEN.fullmatch(str(bound))
    if isinstance(bound, bool) or not matched or not math.isfinite(float(matched[1])):
        raise SpecError(f"`{bound}` is no number", hint="such as `64` or `2.5 $/h`")
    return float(matched[1]), matched[2]


def _clashes(study: StudyFile) -> list[tuple[str, Place, str | None]]:
    """Return the keys that are set twice, or within one another, or are no dotted key."""
    places: dict[str, Place] = {}
    wrong: list[tuple[str, Place, str | None]] = []
    listed = dict[str, Place]()
    for number, row in enumerate(study.listed or ()):
        for key in row:
            listed.setdefault(key, ("list", number, key))
    sampled = study.sample.over if study.sample else {}
    groups: tuple[dict[str, Place], ...] = (
        {key: ("vary", key) for key in study.vary},
        listed,
        {key: ("sample", "over", key) for key in sampled},
    )
    for group in groups:
        for key, place in group.items():
            if not all(step.strip() for step in key.split(".")):
                wrong.append((f"`{key}` is no dotted key", place, "such as `hardware.devices`"))
            for other in places:
                if key == other:
                    wrong.append((f"`{key}` is varied twice", place, "vary it in one part only"))
                elif key.startswith(f"{other}.") or other.startswith(f"{key}."):
                    wrong.append((f"`{key}` and `{other}` set the same value", place, None))
            places.setdefault(key, place)
    return wrong


def problems_at(
    found: list[tuple[str, Place, str | None]], locate: Callable[..., Location]
) -> list[Problem]:
    """Return what is wrong as problems, each at its place."""
    return [Problem(text, locate(place, key=True), hint) for text, place, hint in found]
