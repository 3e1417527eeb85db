"""Predictions: rows of one job are evaluated together, what they leave open is searched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from costsim.training.evaluate import Evaluation, evaluate
from costsim.training.job import Job
from costsim.training.space import Choices, legal_strategies, limits_of
from costsim.training.strategy import Strategies, Strategy
from costsim.validation.configuration import Axes, Configuration, configuration_of
from costsim.validation.runs import Run

_SEARCHED_MICRO_BATCH = 16  # sequences; larger ones are used only where a row states them


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is predicted for one row: seconds a step and bytes a device, of which strategy.

    `filled` lists the axes of the strategy that the row left to the search.
    """

    run: Run
    configuration: Configuration
    strategy: Strategy
    step_time_s: float
    memory_bytes: float
    filled: tuple[str, ...]

    @property
    def tokens_per_step(self) -> float:
        job = self.configuration.job
        return float(job.global_batch * job.sequence)


def predict(runs: Sequence[Run]) -> list[Prediction | str]:
    """Return for every row its prediction, or why there is none."""
    results: list[Prediction | str] = [""] * len(runs)
    groups: dict[Job, list[tuple[int, Configuration]]] = defaultdict(list)
    for index, run in enumerate(runs):
        configuration = run.fault or configuration_of(run)
        if isinstance(configuration, str):
            results[index] = configuration
        else:
            groups[configuration.job].append((index, configuration))
    for job, members in groups.items():
        whole = [(i, c, _strategy(c)) for i, c in members]
        stated = [(i, c, s) for i, c, s in whole if s is not None]
        if stated:
            evaluation = evaluate(job, Strategies.of([s for *_, s in stated]))
            for row, (index, configuration, _) in enumerate(stated):
                results[index] = _prediction(runs[index], configuration, evaluation, row, ())
        searched: dict[Axes, tuple[Evaluation, int] | None] = {}
        for index, configuration, strategy in whole:
            if strategy is not None:
                continue
            axes = configuration.axes
            if axes not in searched:
                searched[axes] = _search(job, axes)
            found = searched[axes]
            if found is None:
                results[index] = "no division of the devices fits model and batch"
            else:
                results[index] = _prediction(runs[index], configuration, *found, _open(axes))
    return results


def _prediction(
    run: Run,
    configuration: Configuration,
    evaluation: Evaluation,
    row: int,
    filled: tuple[str, ...],
) -> Prediction:
    return Prediction(
        run,
        configuration,
        evaluation.strategies.row(row),
        float(evaluation.step_time_s[row]),
        float(evaluation.memory_bytes[row]),
        filled,
    )


def _open(axes: Axes) -> tuple[str, ...]:
    names = ("tp", "pp", "dp", "cp", "micro_batch", "zero", "recompute")
    return tuple(name for name in names if getattr(axes, name) is None)


def _strategy(configuration: Configuration) -> Strategy | None:
    """Return the strategy of a row that states all of it."""
    axes, software = configuration.axes, configuration.job.software
    if _open(axes):
        return None
    return Strategy(
        tp=axes.tp or 1,
        pp=axes.pp or 1,
        vp=axes.vp or 1,
        dp=axes.dp or 1,
        cp=axes.cp or 1,
        micro_batch=axes.micro_batch or 1,
        sp=_sequence_parallel(configuration.job, axes.tp or 1, axes.recompute or "none"),
        zero=axes.zero or 0,
        replicas=axes.replicas,
        recompute=axes.recompute or "none",
    )


def _sequence_parallel(job: Job, tp: int, recompute: str) -> bool:
    habit = job.software.sequence_parallel
    return tp > 1 and (habit == "always" or habit == "selective" and recompute == "selective")


def _search(job: Job, axes: Axes) -> tuple[Evaluation, int] | None:
    """Return the fastest strategy that fits and agrees with what is stated.

    Where none fits, the one that needs the least memory.
    """

    def only(value: int | None) -> tuple[int, ...] | None:
        return None if value is None else (value,)

    habit = job.software.sequence_parallel
    modes = ("none", "selective", "full") if job.software.attention == "unfused" else ("none", "full")
    choices = Choices(
        tp=only(axes.tp),
        pp=only(axes.pp),
        vp=only(axes.vp),
        dp=only(axes.dp),
        cp=only(axes.cp) if axes.cp is not None else (1,),
        micro_batch=only(axes.micro_batch),
        zero=only(axes.zero),
        recompute=modes if axes.recompute is None else (axes.recompute,),
    )
    limits = limits_of(job.model, job.sequence, job.global_batch)
    strategies = legal_strategies(limits, [job.system.count], choices)
    if not len(strategies):
        return None
    follows = np.where(
        (strategies.tp > 1) & ((habit == "always") | (habit == "selective") & (strategies.recompute == 1)),
        strategies.sp == 1,
        strategies.sp == 0,
    )
    if axes.micro_batch is None:
        follows &= strategies.micro_batch <= _SEARCHED_MICRO_BATCH
    strategies = strategies.take(np.flatnonzero(follows))
    if axes.replicas > 1:
        columns = strategies.columns()
        strategies = Strategies.from_columns(
            columns | {"replicas": np.minimum(axes.replicas, strategies.dp)}
        )
    evaluation = evaluate(job, strategies)
    capacity = job.system.accelerator.memory_usable_bytes
    fits = evaluation.memory_bytes <= capacity
    if fits.any():
        times = np.where(fits, evaluation.step_time_s, np.inf)
        return evaluation, int(np.argmin(times))
    return evaluation, int(np.argmin(evaluation.memory_bytes))
