"""The search: every legal strategy evaluated, the infeasible counted by reason, the rest ranked.

The space is small enough to be searched whole, so the best is a proof and not a guess. Ties go to
the simpler strategy, so the result does not depend on the order of evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costsim.errors import InfeasiblePlanError
from costsim.training.evaluate import Evaluation, evaluate
from costsim.training.job import Job
from costsim.training.offload import host_bytes_per_device
from costsim.training.space import Choices, legal_strategies, limits_of_job
from costsim.training.strategy import AXES, Strategies, describe, details, division
from costsim.units import format_bytes

__all__ = ["describe", "details", "division"]


@dataclass(frozen=True, slots=True)
class Search:
    """The evaluated space: which strategies fit, and the feasible ones from fastest to slowest.

    `order` indexes `evaluation`. `rejected` counts the others by reason.
    """

    evaluation: Evaluation
    feasible: np.ndarray
    order: np.ndarray
    rejected: dict[str, int]
    capacity_bytes: float

    @property
    def searched(self) -> int:
        return len(self.evaluation)


def search(
    job: Job,
    device_counts: Sequence[int],
    choices: Choices,
    reserve_ratio: float = 0.0,
) -> Search:
    """Evaluate every legal strategy of `job` on each of `device_counts`.

    Raises:
        InfeasiblePlanError: where no strategy is legal, or none fits in memory; names the nearest.
    """
    limits = limits_of_job(job)
    strategies = legal_strategies(limits, device_counts, choices)
    counts = ", ".join(f"{count:,}" for count in device_counts[:4])
    if not len(strategies):
        raise InfeasiblePlanError(
            f"no strategy divides {job.model.name} with a batch of {job.global_batch:,} "
            f"over {counts} devices",
            hint="use a number of devices that has common factors with heads, layers and batch, "
            "or lift a restriction under `strategy`",
        )
    evaluation = evaluate(job, strategies)
    capacity = job.system.accelerator.memory_usable_bytes * (1 - reserve_ratio)
    feasible = evaluation.memory_bytes <= capacity
    rejected: dict[str, int] = {}
    if not feasible.all():
        rejected[f"out of memory: need more than {format_bytes(capacity)}"] = int((~feasible).sum())
    host = host_bytes_per_device(job.system)
    if host is not None and strategies.offload.any():
        beyond = feasible & (evaluation.memory.host_bytes.max(axis=1) > host)
        if beyond.any():
            rejected[f"out of host memory: a device's share is {format_bytes(host)}"] = int(
                beyond.sum()
            )
        feasible &= ~beyond
        if beyond.any() and not feasible.any():
            raise InfeasiblePlanError(
                f"what {job.model.name} offloads does not fit in the host's memory: each device "
                f"has {format_bytes(host)} of it",
                hint="offload less, or use more devices",
            )
    if not feasible.any():
        raise _too_large(job, evaluation, capacity, device_counts)
    order = np.flatnonzero(feasible)
    order = order[np.lexsort((*_simplicity(strategies, order), evaluation.step_time_s[order]))]
    return Search(evaluation, feasible, order, rejected, capacity)


def _simplicity(strategies: Strategies, index: np.ndarray) -> tuple[np.ndarray, ...]:
    """Tie-breakers, least important first: what adds machinery loses against what does not."""
    axes = sorted(AXES, key=lambda name: AXES[name].machinery)
    axes = [name for name in axes if AXES[name].machinery]
    return tuple(getattr(strategies, axis)[index] for axis in axes)


def pareto(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return a mask of the points that no other point beats in both (lower is better)."""
    order = np.lexsort((second, first))
    best_before = np.minimum.accumulate(np.concatenate([[np.inf], second[order][:-1]]))
    mask = np.zeros(len(first), bool)
    mask[order] = second[order] < best_before
    return mask


def _too_large(
    job: Job, evaluation: Evaluation, capacity: float, device_counts: Sequence[int]
) -> InfeasiblePlanError:
    """Say what the least demanding strategy needs, and the nearest change that would do."""
    least = int(evaluation.memory_bytes.argmin())
    needs = float(evaluation.memory_bytes[least])
    most = max(device_counts)
    message = (
        f"{job.model.name} does not fit on {most:,} x {job.system.accelerator.name}: of "
        f"{len(evaluation):,} strategies the least ({describe(evaluation.strategies.row(least))}) "
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
