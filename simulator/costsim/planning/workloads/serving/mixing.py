"""The best mix of kinds of replica for a service, from what each carries alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from costsim.inference.deployment import simulate_mixed
from costsim.inference.metrics import Measured
from costsim.inference.traffic import Traffic
from costsim.planning.plans import Candidate
from costsim.planning.workloads.serving.capacity import day_of, keeps
from costsim.planning.workloads.serving.fleet import Fleet
from costsim.planning.workloads.serving.mix import Kind, Mix, cheapest_counts
from costsim.planning.workloads.serving.services import Service
from costsim.planning.workloads.serving.spec import Passing, ServedOn, Serving

_MARGIN, _ROUNDS = 1.03, 8  # more capacity asked for after each simulation that misses


def kinds_of(sized: Sequence[Candidate[Fleet]], requests_per_s: float) -> list[Kind]:
    """Return what a replica of each candidate carries: its share of a fleet that was simulated."""
    return [
        Kind(
            one.label,
            one.run.replica.system.id,
            one.run.replica.layout.devices,
            requests_per_s / one.run.replicas,
            one.run.replica.layout.devices
            * one.price.usd_per_device_hour
            * (one.price.billed_devices(one.devices) / one.devices),  # instances are whole
        )
        for one in sized
    ]


def best_mix(
    sized: Sequence[Candidate[Fleet]],
    service: Service,
    traffic: Traffic,
    workload: Serving | Passing,
    hardware: ServedOn,
    available: Mapping[str, int],
) -> Mix | None:
    """Return the fleet of two kinds or more that is cheapest at the busiest time, simulated then.

    Each hour runs that part of it which carries its rate at least cost, though `spare` of its
    largest replicas fail.

    Returns:
        None where one kind alone is cheapest, or the available devices do not suffice.
    """
    busiest = workload.requests_per_s
    kinds = kinds_of(sized, busiest)
    every = [index for index in range(len(kinds)) if not _beaten(kinds, index)]
    kinds, sized = [kinds[i] for i in every], [sized[i] for i in every]
    if len(kinds) < 2:
        return None
    day = day_of(1, busiest, workload.mean_ratio, 0, autoscale=False)
    hours = np.array(day.rates_per_s if hardware.autoscale else [busiest] * len(day.rates_per_s))
    margin = 1.0
    for _ in range(_ROUNDS):
        peak = cheapest_counts(kinds, np.array([busiest * margin]), hardware.spare, available)
        if peak is None or np.count_nonzero(peak) < 2:
            return None
        fleet = peak[0]
        needed = _without_spare(fleet, kinds, hardware.spare)
        found = _measure(sized, kinds, needed, service, traffic)
        if keeps(found, service.objective):
            break
        margin *= _MARGIN
    else:
        return None
    running = cheapest_counts(kinds, hours * margin, hardware.spare, available, fleet)
    assert running is not None  # the whole fleet carries every hour
    used = np.flatnonzero(fleet)
    requests = busiest * workload.mean_ratio * 3600.0 / found.completed
    generated = found.output_tokens if workload.kind == "inference" else 0
    return Mix(
        tuple(kinds[i] for i in used),
        tuple(int(n) for n in fleet[used]),
        tuple(tuple(int(n) for n in hour) for hour in running[:, used]),
        day.rates_per_s,
        found,
        tuple(int(n) for n in needed[used]),
        requests * (found.input_tokens + generated),
    )


def _measure(
    sized: Sequence[Candidate[Fleet]],
    kinds: Sequence[Kind],
    counts: np.ndarray[tuple[int], np.dtype[np.int64]],
    service: Service,
    traffic: Traffic,
) -> Measured:
    fleet = [
        (service.deployment(one.run.replica), int(n), kind.rate_per_s)
        for one, kind, n in zip(sized, kinds, counts, strict=True)
        if n
    ]
    return simulate_mixed(fleet, traffic, service.objective)


def _without_spare(
    counts: np.ndarray[tuple[int], np.dtype[np.int64]], kinds: Sequence[Kind], spare: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return what is left when `spare` of the largest replicas have failed."""
    left = counts.copy()
    for index in sorted(range(len(kinds)), key=lambda i: -kinds[i].rate_per_s):
        failed = min(int(left[index]), spare)
        left[index] -= failed
        spare -= failed
    return left


def _beaten(kinds: Sequence[Kind], index: int) -> bool:
    """Whether another kind of the same system carries as much on a divisor of its devices."""
    mine = kinds[index]
    for at, other in enumerate(kinds):
        if at == index or other.system != mine.system or mine.devices % other.devices:
            continue
        carried = other.rate_per_s * (mine.devices // other.devices)
        close = math.isclose(carried, mine.rate_per_s) and other.devices == mine.devices
        if carried >= mine.rate_per_s and (not close or at < index):
            return True
    return False
