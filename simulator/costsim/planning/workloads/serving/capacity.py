"""How many replicas a traffic needs: the closed form says where to start, simulation decides."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from costsim.inference.deployment import (
    Deployed,
    Deployment,
    disaggregated_if_kept,
    simulate,
    simulate_if_kept,
)
from costsim.inference.metrics import Measured, Objective
from costsim.inference.traffic import DAY_S, Traffic, day_rate

_LOADS = (0.5, 0.75, 1.0, 1.1, 1.25)
_HOURS = 24
_GROWTH = 0.02  # of the wait in a second, above which a fleet does not keep up


@dataclass(frozen=True, slots=True)
class Sized:
    """A number of replicas and what was measured of it; `simulated` counts the runs it took."""

    replicas: int
    measured: Measured
    simulated: int


def keeps(found: Measured, objective: Objective) -> bool:
    """Return whether a fleet keeps `objective` and its queue does not grow."""
    return found.meets(objective) and found.growth_ratio <= _GROWTH


def replicas_for(
    deployment: Deployed,
    traffic: Traffic,
    objective: Objective,
    start: int,
    most: int,
) -> Sized | None:
    """Return the fewest replicas that keep `objective` for `traffic`; None if `most` do not.

    Args:
        deployment: of each.
        traffic: at the rate to be served.
        objective: of the simulated requests.
        start: replicas by the closed form.
        most: replicas to try at most.
    """
    seen: dict[int, Measured | None] = {}

    def fine(replicas: int) -> bool:
        if replicas not in seen:
            seen[replicas] = simulate_if_kept(deployment, replicas, traffic, objective)
        one = seen[replicas]
        return one is not None and keeps(one, objective)

    low, high = 0, max(1, min(start, most))
    while not fine(high):
        low = high
        if high >= most:
            return None
        high = min(most, max(high + 1, math.ceil(high * 1.25)))
    if low == 0:
        step = max(1, high // 8)
        while high - step > 0 and fine(high - step):
            high -= step
        low = max(0, high - step)
    high = _least(fine, low, high)
    found = seen[high]
    assert found is not None  # it was fine
    return Sized(high, found, len(seen))


def _least(fine: Callable[[int], bool], low: int, high: int) -> int:
    """Return the least number above `low` that is fine, `high` being so."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fine(middle) else (middle, high)
    return high


@dataclass(frozen=True, slots=True)
class Pools:
    """Replicas for prompts and for generation apart, and what was measured of them."""

    prompts: int
    generation: int
    measured: Measured


def pools_for(
    deployment: Deployment,
    traffic: Traffic,
    objective: Objective,
    together: int,
    prompt_share: float,
) -> Pools | None:
    """Return the fewest replicas that keep `objective` with prompts and generation apart.

    Args:
        deployment: of each replica of both pools.
        traffic: at the rate to be served.
        objective: of the simulated requests.
        together: replicas that do it when they do both.
        prompt_share: of their time that goes to prompts: about the share of the replicas too.
    """
    for total in range(max(2, together - 2), together + 4):
        middle = round(total * prompt_share)
        tried = {min(max(1, middle + shift), total - 1) for shift in (0, -1, 1)}
        for prompts in sorted(tried, key=lambda one: (abs(one - total * prompt_share), one)):
            found = disaggregated_if_kept(
                deployment, prompts, deployment, total - prompts, traffic, objective
            )
            if found is not None and keeps(found, objective):
                return Pools(prompts, total - prompts, found)
    return None


def sensitivity(
    deployment: Deployed, replicas: int, traffic: Traffic, objective: Objective, known: Measured
) -> tuple[tuple[float, Measured], ...]:
    """Return what the same replicas measure at other loads, as shares of the traffic's rate.

    What they measure at the rate itself is `known`.
    """
    others = {one: traffic.quicker(one) for one in _LOADS if one != 1.0}
    return tuple(
        (
            load,
            simulate(deployment, replicas, others[load], objective) if load in others else known,
        )
        for load in _LOADS
    )


@dataclass(frozen=True, slots=True)
class Day:
    """A fleet over a day.

    Attributes:
        rates_per_s: requests a second in each hour.
        replicas: that run in each hour, spare ones included.
        replica_hours: of the day.
    """

    rates_per_s: tuple[float, ...]
    replicas: tuple[int, ...]
    replica_hours: float


def day_of(
    replicas: int, busiest_rate_per_s: float, mean_ratio: float, spare: int, *, autoscale: bool
) -> Day:
    """Return the fleet of each hour of a day whose busiest needs `replicas` and `spare` more.

    The rate follows a cosine; with `autoscale` an hour runs what its own busiest moment needs.
    """
    mean = busiest_rate_per_s * mean_ratio
    edges = np.linspace(0.0, DAY_S, _HOURS * 4 + 1)
    rates = day_rate(mean, 1.0 / mean_ratio, edges)
    hours = np.array([rates[4 * hour : 4 * hour + 5].max() for hour in range(_HOURS)])
    needed = np.ceil(np.round(hours / busiest_rate_per_s * replicas, 9)) if autoscale else None
    running = np.full(_HOURS, replicas) if needed is None else np.maximum(needed, 1)
    fleet = tuple(int(one) + spare for one in running)
    return Day(tuple(float(rate) for rate in hours), fleet, float(sum(fleet)))
