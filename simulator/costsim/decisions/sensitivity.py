"""How a plan answers to its inputs: what each moves, and which change makes another way win.

Every figure is of a plan made anew with one input changed, the search included, so that a change
may be answered by another strategy, system or fleet.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from costsim.errors import InfeasiblePlanError, SpecError, suggestion
from costsim.planning import Plan, plan
from costsim.planning.study import Place, Source, Study

_LOG = logging.getLogger(__name__)
_FURTHEST = 4.0  # times an input is changed, up and down, in search of a flip
_STEPS = 8  # that are tried on the way there
_CLOSE = 1e-3  # of a factor, to which a flip is found


def _price(place: Place, factor: float) -> Place:
    listed = place.price.price
    price = replace(listed, usd_per_device_hour=listed.usd_per_device_hour * factor)
    return replace(place, price=replace(place.price, price=price))


def _peak(place: Place, factor: float) -> Place:
    peaks = {k: v * factor for k, v in place.system.accelerator.peaks_flops_per_s.items()}
    chip = replace(place.system.accelerator, peaks_flops_per_s=peaks)
    return replace(place, system=replace(place.system, accelerator=chip))


def _hbm(place: Place, factor: float) -> Place:
    chip = place.system.accelerator
    rate = chip.memory_bandwidth_bytes_per_s * factor
    chip = replace(chip, memory_bandwidth_bytes_per_s=rate)
    return replace(place, system=replace(place.system, accelerator=chip))


def _links(place: Place, factor: float, *, inner: bool) -> Place:
    tiers = tuple(
        replace(tier, bandwidth_bytes_per_s=tier.bandwidth_bytes_per_s * factor)
        if (index == 0) == inner
        else tier
        for index, tier in enumerate(place.system.tiers)
    )
    return replace(place, system=replace(place.system, tiers=tiers))


def _power(place: Place, factor: float) -> Place:
    return replace(place, power_w=place.power_w * factor)


def _pue(place: Place, factor: float) -> Place:
    pue = place.site.pue
    scaled = replace(
        pue,
        value_ratio=pue.value_ratio * factor,
        low_ratio=pue.low_ratio * factor,
        high_ratio=pue.high_ratio * factor,
    )
    return replace(place, site=replace(place.site, pue=scaled))


def _grid(place: Place, factor: float) -> Place:
    grid = place.site.grid
    scaled = replace(
        grid,
        g_per_kwh=grid.g_per_kwh * factor,
        low_g_per_kwh=grid.low_g_per_kwh * factor,
        high_g_per_kwh=grid.high_g_per_kwh * factor,
    )
    return replace(place, site=replace(place.site, grid=scaled))


OF_PLACES: Mapping[str, Callable[[Place, float], Place]] = {
    "price": _price,
    "peak FLOPs": _peak,
    "HBM bandwidth": _hbm,
    "inner links": partial(_links, inner=True),
    "outer links": partial(_links, inner=False),
    "power": _power,
    "PUE": _pue,
    "grid": _grid,
}
"""Inputs of the chosen system; those compared with it stay as they are."""

_AMOUNTS = ("tokens", "samples", "epochs", "requests_per_s", "requests")
_LIMITS = {"deadline": "deadline", "budget": "cost"}


@dataclass(frozen=True, slots=True)
class Moved:
    """What plans cost and take with one input lower and higher, each planned anew.

    Attributes:
        name: of the input.
        low: (dollars, days) at the lower factor; None where nothing fits.
        high: at the higher one.
        cost_elasticity: change of the logarithm of dollars over that of the input, end to end.
        time_elasticity: the same of wall time.
        other: whether another way wins at an end.
    """

    name: str
    low: tuple[float, float] | None
    high: tuple[float, float] | None
    cost_elasticity: float | None
    time_elasticity: float | None
    other: tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class Flip:
    """The nearest change of an input that makes another way win.

    `factor` is of the input, within a thousandth, on the other way's side; None where no change up
    to a factor of four does. `to` is what wins then, "" where nothing fits.
    """

    name: str
    factor: float | None
    to: str


class Sensitivity:
    """Plans of one scenario with its inputs changed.

    Args:
        source: as of `plan`.
        settings: overrides.
        calibration: overlay file of `costsim calibrate`.
        allow_outside: whether a scenario file may name files outside its own folder.
    """

    def __init__(
        self,
        source: Source,
        settings: Sequence[str] = (),
        calibration: str | Path | None = None,
        *,
        allow_outside: bool = False,
    ) -> None:
        self._plan = partial(plan, source, settings, calibration, allow_outside=allow_outside)
        self.base = self._plan()
        self._known: dict[tuple[str, float], Plan[Any, Any] | None] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Inputs that this scenario has."""
        work, limits = self.base.scenario["workload"], self.base.scenario.get("limits", {})
        system = self.base.system
        own = [name for name in OF_PLACES if name not in ("inner links", "outer links")]
        own += ["inner links"] if system.tiers else []
        own += ["outer links"] if len(system.tiers) > 1 else []
        own += [name for name in _AMOUNTS if work.get(name) is not None]
        own += [name for name, key in _LIMITS.items() if limits.get(key) is not None]
        return tuple(own)

    def at(self, name: str, factor: float) -> Plan[Any, Any] | None:
        """Return the plan with an input times a factor; None where nothing fits.

        Raises:
            SpecError: for an input that the scenario does not have.
        """
        if name not in self.names:
            raise SpecError(f"no input `{name}` to change", hint=suggestion(name, self.names))
        key = (name, factor)
        if factor == 1:
            return self.base
        if key not in self._known:
            _LOG.info("planning with %s times %.3g", name, factor)
            try:
                self._known[key] = self._plan(change=lambda study: self._changed(study, *key))
            except InfeasiblePlanError:
                self._known[key] = None
        return self._known[key]

    def moved(self, by: float = 0.2) -> tuple[Moved, ...]:
        """Return what each input moves, changed by a share down and up; the largest first."""
        found = [self._moved(name, by) for name in self.names if name not in _LIMITS]
        return tuple(sorted(found, key=_swing, reverse=True))

    def flips(self, names: Sequence[str] = ()) -> tuple[Flip, ...]:
        """Return the nearest change of each input that makes another way win; nearest first."""
        found = [self._flip(name) for name in names or self.names]
        return tuple(
            sorted(found, key=lambda one: abs(math.log(one.factor)) if one.factor else math.inf)
        )

    def _moved(self, name: str, by: float) -> Moved:
        ends = (1 - by, 1 + by)
        plans = [self.at(name, end) for end in ends]
        low, high = (None if one is None else _figures(one) for one in plans)
        span = math.log(ends[1] / ends[0])

        def elasticity(index: int) -> float | None:
            if low is None or high is None or low[index] <= 0 or high[index] <= 0:
                return None
            return math.log(high[index] / low[index]) / span

        other = tuple(way(one) != way(self.base) for one in plans)
        return Moved(name, low, high, elasticity(0), elasticity(1), (other[0], other[1]))

    def _flip(self, name: str) -> Flip:
        """Walk away from 1 both ways in equal ratios, then halve the first step that flips."""
        own = way(self.base)
        for step in range(1, _STEPS + 1):
            near: list[tuple[float, float]] = []
            for sign in (-1, 1):
                far = _FURTHEST ** (sign * step / _STEPS)
                if way(self.at(name, far)) != own:
                    near.append((_FURTHEST ** (sign * (step - 1) / _STEPS), far))
            if near:
                ends = [self._halved(name, own, *pair) for pair in near]
                factor = min(ends, key=lambda end: abs(math.log(end)))
                return Flip(name, factor, way(self.at(name, factor)))
        return Flip(name, None, "")

    def _halved(self, name: str, own: str, same: float, other: float) -> float:
        while abs(other / same - 1) > _CLOSE:
            middle = math.sqrt(same * other)
            if way(self.at(name, middle)) == own:
                same = middle
            else:
                other = middle
        return other

    def _changed(self, study: Study, name: str, factor: float) -> Study:
        """Return a study with one input times a factor: of the chosen system, or of the work."""
        if name in OF_PLACES:
            change, chosen = OF_PLACES[name], self.base.system.id
            places = tuple(
                change(place, factor) if place.system.id == chosen else place
                for place in study.places
            )
            return replace(study, places=places)
        scenario = study.scenario
        part, key = ("limits", _LIMITS[name]) if name in _LIMITS else ("workload", name)
        record: Any = getattr(scenario, part)
        value = getattr(record, key) * factor
        if isinstance(getattr(record, key), int):
            value = max(round(value), 1)
        record = record.model_copy(update={key: value})
        return replace(study, scenario=scenario.model_copy(update={part: record}))


def way(planned: Plan[Any, Any] | None) -> str:
    """Return how the best of a plan runs, in words; "" of none."""
    if planned is None:
        return ""
    best = planned.best
    told = best.to_dict()
    how: dict[str, Any] = told.get("strategy") or told.get("layout") or {}
    axes = ", ".join(f"{key} {value}" for key, value in how.items() if value not in (None, False))
    names = [best.option.name, str(told.get("precision") or ""), str(told.get("software") or "")]
    said = ", ".join(name for name in names if name)
    return f"{best.system.accelerator.name} ({said}; {axes})"


def _figures(planned: Plan[Any, Any]) -> tuple[float, float]:
    days = planned.best.figures.get("days")
    return planned.best.value("cost_usd"), days.value if days else 0.0


def _swing(one: Moved) -> float:
    ends = [end for end in (one.low, one.high) if end is not None]
    return math.inf if len(ends) < 2 else abs(ends[1][0] - ends[0][0])
