"""The search: the fastest of every legal strategy, and those near it.

A small space is evaluated whole. Of a large one only what may come near the best is: strategies
are taken in the order of the least time that their kernels need (`training.bounds`), until that
alone is too long. Either way the best is a proof and not a guess. Ties go to the simpler strategy,
so that the result does not depend on the order of evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from costsim.errors import InfeasiblePlanError
from costsim.planning.intervals import usual_reserve
from costsim.training.bounds import least_kernels_s, least_step_s
from costsim.training.evaluate import Evaluation, evaluate
from costsim.training.job import Job
from costsim.training.memory import Memory
from costsim.training.offload import host_bytes_per_device
from costsim.training.profile import Profile, profile
from costsim.training.reductions import over_types
from costsim.training.space import Choices, Space, legal_strategies, limits_of_job
from costsim.training.stages import Stages, stages
from costsim.training.strategy import AXES, Strategies, describe, details, division
from costsim.units import format_bytes

__all__ = ["describe", "details", "division"]

WORTH_A_LOOK = 1.3
"""Times the best step time: beyond, less memory is not worth the time."""
WHOLE = 10_000
"""Strategies that are evaluated whole: more are searched by bounds in less time."""
SHOWN = 500_000
"""Strategies up to which charts show a whole space: in a few seconds."""
_BLOCK = 16_384  # divisions whose bounds are found, or strategies that are evaluated, at a time
_LARGEST_BLOCK = 8 * _BLOCK  # of strategies, once the limit is about what it will be


@dataclass(frozen=True, slots=True)
class Search:
    """Strategies that fit, and in what order they are the fastest.

    Attributes:
        evaluation: of a space searched whole all its strategies; of a larger one those that fit
            within `WORTH_A_LOOK` times the best.
        order: of those that fit, from fastest to slowest: indices of `evaluation`.
        searched: number of legal strategies.
        rejected: how many of them are out, by reason.
        capacity_bytes: of a device.
        again: makes the same search evaluate the whole space.
    """

    evaluation: Evaluation
    order: np.ndarray
    searched: int
    rejected: dict[str, int]
    capacity_bytes: float
    again: Callable[[], Search]

    def whole(self) -> Search:
        """Return the search of the whole space, or this one where the space is too large."""
        all_there = len(self.evaluation) == self.searched
        return self if all_there or self.searched > SHOWN else self.again()


def search(
    job: Job,
    device_counts: Sequence[int],
    choices: Choices,
    reserve_ratio: float = 0.0,
    whole: int = WHOLE,
) -> Search:
    """Find the fastest legal strategies of `job` on each of `device_counts`.

    Args:
        job: what is trained, on what.
        device_counts: numbers of devices.
        choices: values that axes may have.
        reserve_ratio: share of a device's memory to leave free.
        whole: strategies up to which a space is evaluated whole.

    Raises:
        InfeasiblePlanError: where no strategy is legal, or none fits in memory; names the nearest.
    """
    space = Space.of(limits_of_job(job), device_counts, choices)
    searched = len(space)
    if not searched:
        counts = ", ".join(f"{count:,}" for count in device_counts[:4])
        raise InfeasiblePlanError(
            f"no strategy divides {job.model.name} with a batch of {job.global_batch:,} "
            f"over {counts} devices",
            hint="use a number of devices that has common factors with heads, layers and batch, "
            "or lift a restriction under `strategy`",
        )
    capacity = job.system.accelerator.memory_usable_bytes * (1 - reserve_ratio)
    room = _Room(job, capacity)
    if searched <= whole:
        evaluation = evaluate(job, space.strategies())
        order = np.flatnonzero(room.fits(evaluation.strategies, evaluation.memory))
    else:
        near = _near_best(job, space, searched, room)
        evaluation = evaluate(job, near) if len(near) else None
        order = np.arange(len(near))
    if evaluation is None or not len(order):
        if room.beyond_host:
            raise InfeasiblePlanError(
                f"what {job.model.name} offloads does not fit in the host's memory: each device "
                f"has {format_bytes(room.host_bytes or 0.0)} of it",
                hint="offload less, or use more devices",
            )
        raise _too_large(job, searched, room, device_counts)
    rejected = room.rejected()
    if slower := searched - len(order) - sum(rejected.values()):
        rejected[f"take more than {WORTH_A_LOOK:g} times the best step"] = slower
    order = order[_ranked(evaluation.strategies.take(order), evaluation.step_time_s[order])]
    again = partial(search, job, device_counts, choices, reserve_ratio, SHOWN)
    return Search(evaluation, order, searched, rejected, capacity, cache(again))


def reserves_of(stated: float | None, job: Job) -> tuple[float, ...]:
    """Return the shares of memory to leave free, one after another until something fits.

    What is stated; else what the interval of memory asks for, and if need be nothing.
    """
    if stated is not None:
        return (stated,)
    return (usual_reserve(stacked=job.stack is not None), 0.0)


class _Room:
    """What devices and hosts have room for in what time, and how many strategies ask for more.

    Until something fits, any time will do; then `limit_s` is what is worth a look.
    """

    def __init__(self, job: Job, capacity_bytes: float) -> None:
        self.job, self.capacity_bytes = job, capacity_bytes
        self.host_bytes = host_bytes_per_device(job.system)
        self.too_large = self.beyond_host = 0
        self.least_bytes, self.frugal = math.inf, Strategies.of([])
        self.limit_s = math.inf

    def promising(self, strategies: Strategies, held: Stages, profiled: Profile) -> np.ndarray:
        """Return which strategies may take no longer than the limit."""
        if self.limit_s == math.inf:
            return np.ones(len(strategies), bool)
        return least_step_s(self.job, strategies, held, profiled) <= self.limit_s

    def fits(self, strategies: Strategies, memory: Memory) -> np.ndarray:
        """Return which strategies fit, and count the others."""
        if not len(strategies):
            return np.zeros(0, bool)
        held = over_types(memory.total_bytes)
        self._remember(strategies, held)
        fitting = held <= self.capacity_bytes
        self.too_large += int((~fitting).sum())
        if self.host_bytes is not None and strategies.offload.any():
            beyond = fitting & (memory.host_bytes.max(axis=1) > self.host_bytes)
            self.beyond_host += int(beyond.sum())
            fitting &= ~beyond
        return fitting

    def _remember(self, strategies: Strategies, held: np.ndarray) -> None:
        """Keep the strategy that holds least of all, the simplest of equal ones."""
        least = float(held.min())
        if least <= self.least_bytes:
            alike = [strategies.take(held == least)]
            alike += [self.frugal] if least == self.least_bytes else []
            rows = Strategies.joined(alike)
            self.frugal = rows.take(_ranked(rows, np.zeros(len(rows)))[:1])
            self.least_bytes = least

    def rejected(self) -> dict[str, int]:
        """Return how many strategies do not fit, by reason."""
        found = {
            f"out of memory: need more than {format_bytes(self.capacity_bytes)}": self.too_large,
            "out of host memory: a device's share is "
            f"{format_bytes(self.host_bytes or 0.0)}": self.beyond_host,
        }
        return {reason: count for reason, count in found.items() if count}


def _near_best(job: Job, space: Space, searched: int, room: _Room) -> Strategies:
    """Return what fits and takes no longer than `WORTH_A_LOOK` times the best.

    No strategy is left out whose bound lies within: that of a strategy is at most its time.
    """
    division, option, least_s = _bounds(job, space)
    order = np.argsort(least_s, kind="stable")
    each, first, size = searched / len(order), 0, _BLOCK
    near: list[tuple[Strategies, np.ndarray]] = []
    while first < len(order):
        block = max(int(size / each), 1)
        some = order[first : first + block]
        first, size = first + block, min(2 * size, _LARGEST_BLOCK)
        some = some[least_s[some] <= room.limit_s]
        if not len(some):
            break
        kernels = space.kernels(division[some], option[some])
        found = evaluate(job, space.completed(kernels), room)
        if len(found):
            limit_s = WORTH_A_LOOK * float(found.step_time_s.min())
            room.limit_s = min(room.limit_s, limit_s)
            near.append((found.strategies, found.step_time_s))
    kept = [one.take(step_s <= room.limit_s) for one, step_s in near]
    return Strategies.joined(kept)


def _bounds(job: Job, space: Space) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which strategies differ in their kernels (see `Space.kernels`), and their bounds."""
    where: list[tuple[np.ndarray, np.ndarray]] = []
    bounds: list[np.ndarray] = []
    for first in range(0, len(space.divisions), _BLOCK):
        where.append(space.kernels_in(first, first + _BLOCK))
        kernels = space.kernels(*where[-1])
        profiled, _ = profile(job, kernels)
        held = stages(job.model, kernels.pp, kernels.vp, kernels.copies)
        bounds.append(least_kernels_s(job, kernels, held, profiled))
    division, option = (np.concatenate(part) for part in zip(*where, strict=True))
    return division, option, np.concatenate(bounds)


def _ranked(strategies: Strategies, figure: np.ndarray) -> np.ndarray:
    """Return the order of strategies from the least figure up, the simpler first of equal ones.

    What adds machinery loses against what does not; then what comes first by its axes is first.
    """
    order = np.argsort(figure, kind="stable")
    same = np.diff(figure[order]) == 0
    tied = np.flatnonzero(np.concatenate([[False], same]) | np.concatenate([same, [False]]))
    among = order[tied]
    axes = sorted(AXES, key=lambda name: AXES[name].machinery)
    keys = (*(getattr(strategies, axis)[among] for axis in axes), figure[among])
    order[tied] = among[np.lexsort(keys)]
    return order


def pareto(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return a mask of the points that no other point beats in both (lower is better)."""
    order = np.lexsort((second, first))
    best_before = np.minimum.accumulate(np.concatenate([[np.inf], second[order][:-1]]))
    mask = np.zeros(len(first), bool)
    mask[order] = second[order] < best_before
    return mask


def _too_large(
    job: Job, searched: int, room: _Room, device_counts: Sequence[int]
) -> InfeasiblePlanError:
    """Say what the least demanding strategy needs, and the nearest change that would do."""
    most, capacity, needs = max(device_counts), room.capacity_bytes, room.least_bytes
    if not len(room.frugal):
        raise InfeasiblePlanError(f"no strategy of {job.model.name} has a finite memory")
    message = (
        f"{job.model.name} does not fit on {most:,} x {job.system.accelerator.name}: of "
        f"{searched:,} strategies the least ({describe(room.frugal.row(0))}) "
        f"needs {format_bytes(needs)} a device, has {format_bytes(capacity)}"
    )
    return InfeasiblePlanError(message, hint=_nearest_fix(job, most, capacity, needs))


def _nearest_fix(job: Job, devices: int, capacity: float, needs: float) -> str:
    limits = limits_of_job(job)
    for factor in (2, 4, 8, 16, 32, 64):
        # Only strategies that save the most memory can be the first to fit.
        frugal = Choices(micro_batch=(1,), recompute=("full",))
        strategies = legal_strategies(limits, [devices * factor], frugal)
        if len(strategies) and evaluate(job, strategies).memory_bytes.min() <= capacity:
            return (
                f"{devices * factor:,} of these devices hold it, or devices with "
                f"{format_bytes(needs)} of memory"
            )
    return f"use devices with {format_bytes(needs)} of memory or more, or a smaller model"
