"""Fleets of several kinds of replica: the cheapest counts that carry each hour of a day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from costsim.inference.metrics import Measured

Array: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]

_ROUNDING = 1e-9  # relative, within which a rate counts as carried


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of replica that a fleet may be made of.

    Attributes:
        label: device, format and layout.
        system: id of the system, whose devices all its kinds share.
        devices: of a replica.
        rate_per_s: requests a second that a replica carries within the objectives.
        usd_per_hour: of a replica.
    """

    label: str
    system: str
    devices: int
    rate_per_s: float
    usd_per_hour: float


@dataclass(frozen=True, slots=True)
class Mix:
    """A fleet of several kinds.

    Attributes:
        kinds: that run at some hour.
        replicas: of each kind at the busiest hour, spare ones included.
        day: replicas of each kind in each hour.
        rates_per_s: requests a second in each hour.
        measured: by simulation at the busiest time, without the spare ones.
        needed: replicas of each kind that were simulated.
        tokens_per_hour: read and generated, the mean of a day; samples where none are generated.
    """

    kinds: tuple[Kind, ...]
    replicas: tuple[int, ...]
    day: tuple[tuple[int, ...], ...]
    rates_per_s: tuple[float, ...]
    measured: Measured
    needed: tuple[int, ...]
    tokens_per_hour: float

    @property
    def devices(self) -> int:
        """Devices at the busiest hour, spare ones included."""
        return sum(n * kind.devices for n, kind in zip(self.replicas, self.kinds, strict=True))

    @property
    def usd_per_hour(self) -> float:
        """Dollars an hour, the mean of a day."""
        prices = np.array([kind.usd_per_hour for kind in self.kinds])
        return float((np.array(self.day) @ prices).mean())

    @property
    def usd_per_mtok(self) -> float:
        """Dollars a million tokens, those of prompts and answers alike."""
        return self.usd_per_hour / self.tokens_per_hour * 1e6

    @property
    def label(self) -> str:
        """Replicas of each kind at the busiest hour, as words."""
        running = zip(self.replicas, self.kinds, strict=True)
        return " and ".join(f"{n} of {kind.label}" for n, kind in running if n)

    def to_dict(self) -> dict[str, Any]:
        """Return the mix as plain values, keys with their units."""
        return {
            "kinds": [
                {
                    "label": kind.label,
                    "system": kind.system,
                    "replica_devices": kind.devices,
                    "requests_per_s_per_replica": kind.rate_per_s,
                    "usd_per_hour_per_replica": kind.usd_per_hour,
                    "replicas": replicas,
                    "replicas_without_spare": needed,
                }
                for kind, replicas, needed in zip(
                    self.kinds, self.replicas, self.needed, strict=True
                )
            ],
            "devices": self.devices,
            "usd_per_hour": self.usd_per_hour,
            "usd_per_mtok": self.usd_per_mtok,
            "measured": self.measured.to_dict(),
            "day": {
                "requests_per_s": list(self.rates_per_s),
                "replicas": [list(hour) for hour in self.day],
            },
        }


@dataclass(frozen=True, slots=True)
class _Frontier:
    """Fleets of which none costs less and carries as much as another, by rising cost."""

    cost: Array
    rate: Array
    counts: Counts

    @classmethod
    def of(cls, cost: Array, rate: Array, counts: Counts) -> _Frontier:
        """Keep of some fleets those that none other beats."""
        order = np.lexsort((-rate, cost))
        cost, rate, counts = cost[order], rate[order], counts[order]
        before = np.maximum.accumulate(np.concatenate([[-1.0], rate[:-1]]))
        kept = rate > before * (1.0 + _ROUNDING)
        return cls(cost[kept], rate[kept], counts[kept])

    def plus(self, other: _Frontier, enough: float) -> _Frontier:
        """Return the fleets of both together; what carries more than `enough` counts as enough."""
        cost = np.add.outer(self.cost, other.cost).ravel()
        rate = np.minimum(np.add.outer(self.rate, other.rate).ravel(), enough)
        counts = self.counts[:, None, :] + other.counts[None, :, :]
        return _Frontier.of(cost, rate, counts.reshape(len(cost), -1))


def cheapest_counts(
    kinds: Sequence[Kind],
    rates_per_s: Array,
    spare: int,
    available: Mapping[str, int],
    most: Counts | None = None,
) -> Counts | None:
    """Return the counts of each kind that carry each rate at least cost; None where none do.

    What carries no more and costs no less than another fleet of the same kinds is never part of a
    cheapest one, whatever is added to both; so only the others are kept, kind by kind, and the
    result is that of trying all counts. `spare` times the largest replica may fail.

    Args:
        kinds: to choose from.
        rates_per_s: requests a second, one row of the result each.
        spare: replicas that may fail.
        available: devices of systems that are limited.
        most: replicas of each kind at most, such as those of the busiest hour.
    """
    best = np.full(len(rates_per_s), np.inf)
    found = np.zeros((len(rates_per_s), len(kinds)), dtype=np.int64)
    for largest in sorted({kind.rate_per_s for kind in kinds}):
        needed = rates_per_s + spare * largest
        fleets = _fleets(kinds, largest, float(needed.max()), available, most)
        at = np.searchsorted(fleets.rate, needed * (1.0 - _ROUNDING))
        inside = at < len(fleets.rate)
        at = np.minimum(at, len(fleets.rate) - 1)
        better = inside & (fleets.cost[at] < best * (1.0 - _ROUNDING))
        best[better], found[better] = fleets.cost[at[better]], fleets.counts[at[better]]
    return found if np.isfinite(best).all() else None


def most_carried(kinds: Sequence[Kind], spare: int, available: Mapping[str, int]) -> float:
    """Return requests a second that the available devices carry at most; all must be limited."""
    most = 0.0
    for largest in {kind.rate_per_s for kind in kinds}:
        fleets = _fleets(kinds, largest, np.inf, available)
        most = max(most, float(fleets.rate[-1]) - spare * largest)
    return most


def _fleets(
    kinds: Sequence[Kind],
    largest: float,
    enough: float,
    available: Mapping[str, int],
    bound: Counts | None = None,
) -> _Frontier:
    """Return the fleets of kinds that carry at most `largest` a replica."""
    none = np.zeros((1, len(kinds)), dtype=np.int64)
    together = _Frontier(np.zeros(1), np.zeros(1), none)
    for system in dict.fromkeys(kind.system for kind in kinds):
        most = available.get(system)
        alone = _Frontier(np.zeros(1), np.zeros(1), none)
        for index, kind in enumerate(kinds):
            if kind.system != system or kind.rate_per_s > largest:
                continue
            limit = np.inf if most is None else most // kind.devices
            limit = limit if bound is None else min(limit, int(bound[index]))
            number = np.arange(int(min(limit, np.ceil(enough / kind.rate_per_s))) + 1)
            counts = np.zeros((len(number), len(kinds)), dtype=np.int64)
            counts[:, index] = number
            each = number.astype(np.float64)
            added = _Frontier(each * kind.usd_per_hour, each * kind.rate_per_s, counts)
            alone = alone.plus(added, enough)
            if most is not None:  # devices of a system cost alike, so what is cut is never needed
                used = alone.counts @ np.array([k.devices for k in kinds])
                fits = used <= most
                alone = _Frontier(alone.cost[fits], alone.rate[fits], alone.counts[fits])
        together = together.plus(alone, enough)
    return together
