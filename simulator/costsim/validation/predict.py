"""Step times: rows of one job are evaluated together, what they leave open is searched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from costsim.architectures.division import divisors
from costsim.training.evaluate import Evaluation, evaluate
from costsim.training.job import Job
from costsim.training.pipeline import is_legal
from costsim.training.recompute import RECOMPUTE, SEARCHED, Recompute
from costsim.training.space import Choices, legal_strategies, limits_of
from costsim.training.strategy import Strategies, Strategy
from costsim.validation.configuration import Axes, Configuration

_SEARCHED_MICRO_BATCH = 16  # sequences; larger ones are used only where a row states them


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is predicted of a configuration: seconds a step, bytes a device, of which strategy.

    `filled` lists the axes of the strategy that the row left to the search; `share` is of layers
    that are recomputed as the strategy says, where the search found fewer than all enough;
    `host_ratio` the share of a step that waits for the host.
    """

    configuration: Configuration
    strategy: Strategy
    step_time_s: float
    memory_bytes: float
    host_ratio: float
    filled: tuple[str, ...] = ()
    share: float = 1.0

    @property
    def divided(self) -> bool:
        """Whether the search chose how the devices divide the model, or how much a pass holds."""
        return bool({"tp", "pp", "cp", "ep", "micro_batch"}.intersection(self.filled))

    @property
    def tokens_per_step(self) -> float:
        job = self.configuration.job
        return float(job.global_batch * job.sequence)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a search chose."""

    strategy: Strategy
    step_time_s: float
    memory_bytes: float
    host_ratio: float
    share: float = 1.0


def predictions(configurations: Sequence[Configuration]) -> list[Prediction | str]:
    """Return for every configuration its prediction, or why there is none."""
    results: list[Prediction | str] = [""] * len(configurations)
    groups: dict[Job, list[tuple[int, Configuration]]] = defaultdict(list)
    for index, configuration in enumerate(configurations):
        groups[configuration.job].append((index, configuration))
    for job, members in groups.items():
        whole = [(i, c, _strategy(c)) for i, c in members]
        stated = [(i, c, s) for i, c, s in whole if s is not None]
        if stated:
            evaluation = evaluate(job, Strategies.of([s for *_, s in stated]))
            for row, (index, configuration, _) in enumerate(stated):
                held = configuration.held
                results[index] = Prediction(
                    configuration,
                    evaluation.strategies.row(row),
                    float(evaluation.step_time_s[row]),
                    held.bytes_of(evaluation.strategies.row(row))
                    if held is not None
                    else _metered(configuration, evaluation, row),
                    _host_ratio(evaluation, row),
                )
        searched: dict[Axes, _Found | None] = {}
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
                results[index] = Prediction(
                    configuration,
                    found.strategy,
                    found.step_time_s,
                    _held(configuration, found),
                    found.host_ratio,
                    _open(axes),
                    found.share,
                )
    return results


def _held(configuration: Configuration, found: _Found) -> float:
    """Return bytes of a device, as the stack of a row holds what was found by its profile.

    Software of its kind divides experts only where that is stated.
    """
    held, strategy = configuration.held, found.strategy
    if held is None or found.share < 1:
        return found.memory_bytes
    if configuration.axes.ep is None:
        strategy = replace(strategy, ep=1, etp=1)
    return held.bytes_of(strategy)


def _metered(configuration: Configuration, evaluation: Evaluation, row: int) -> float:
    memory = evaluation.memory.metered_bytes(configuration.meter, configuration.job)
    return float(memory[row].max())


def _host_ratio(evaluation: Evaluation, row: int) -> float:
    return float(evaluation.time_parts_s["host"][row] / evaluation.step_time_s[row])


def _open(axes: Axes) -> tuple[str, ...]:
    names = ("tp", "pp", "vp", "dp", "cp", "ep", "etp", "micro_batch", "zero", "recompute")
    return tuple(name for name in names if getattr(axes, name) is None)


def _strategy(configuration: Configuration) -> Strategy | None:
    """Return the strategy of a row that states all of it."""
    axes = configuration.axes
    return None if _open(axes) else _filled(configuration.job, axes)


def _filled(job: Job, axes: Axes) -> Strategy:
    """Return the strategy of complete axes."""
    tp, recompute = axes.tp or 1, axes.recompute or "none"
    micro_batches = job.global_batch // ((axes.dp or 1) * (axes.micro_batch or 1))
    runs = is_legal(axes.schedule, axes.pp or 1, axes.vp or 1, micro_batches)
    return Strategy(
        tp=tp,
        pp=axes.pp or 1,
        vp=axes.vp or 1,
        dp=axes.dp or 1,
        cp=axes.cp or 1,
        ep=axes.ep or 1,
        etp=axes.etp or 1,
        micro_batch=axes.micro_batch or 1,
        sp=_sequence_parallel(job, tp, recompute),
        zero=axes.zero or 0,
        replicas=min(axes.replicas, axes.dp or 1),
        recompute=recompute,
        schedule=axes.schedule if runs else "1f1b",
    )


def _sequence_parallel(job: Job, tp: int, recompute: str) -> bool:
    habit = job.software.sequence_parallel
    return tp > 1 and (habit == "always" or (habit == "selective" and recompute == "selective"))


def _search(job: Job, axes: Axes) -> _Found | None:
    """Return the fastest strategy that fits and agrees with what is stated.

    Where none fits, the one that needs the least memory.
    """
    unfused = job.software.attention == "unfused"
    recompute: tuple[Recompute, ...] = SEARCHED if unfused else ("none", "full")
    if axes.usual:
        recompute = axes.usual
    if axes.recompute is not None:
        recompute = (axes.recompute,)
    if axes.tp and axes.pp and axes.cp and axes.dp and axes.ep and axes.micro_batch:
        # The division stands, whether or not it is one that the search would think of.
        zero = (0, 1) if axes.zero is None else (axes.zero,)
        chunks = _interleavings(job, axes) if axes.vp is None else (axes.vp,)
        strategies = Strategies.of(
            [
                _filled(job, replace(axes, vp=v, zero=z, recompute=r, etp=e))
                for v, z, r, e in product(chunks, zero, recompute, _expert_divisions(axes))
            ]
        )
    else:
        strategies = _legal(job, axes, recompute)
        if not len(strategies):
            return None
    evaluation = evaluate(job, strategies)
    capacity = job.system.accelerator.memory_usable_bytes
    fits = evaluation.memory_bytes <= capacity
    if fits.any():
        best = int(np.argmin(np.where(fits, evaluation.step_time_s, np.inf)))
    else:
        best = int(np.argmin(evaluation.memory_bytes))
    found = _Found(
        evaluation.strategies.row(best),
        float(evaluation.step_time_s[best]),
        float(evaluation.memory_bytes[best]),
        _host_ratio(evaluation, best),
    )
    if "none" in recompute and found.strategy.recompute == "full" and fits.any():
        return _in_part(job, evaluation, found, capacity)
    return found


def _in_part(job: Job, evaluation: Evaluation, full: _Found, capacity: float) -> _Found:
    """Recompute only as many layers as memory asks for, as frameworks let one choose.

    Time and memory of a share of layers lie between those of none and of all.
    """
    kept = replace(full.strategy, recompute="none")
    without = evaluate(job, Strategies.of([kept]))
    time_s, memory_bytes = float(without.step_time_s[0]), float(without.memory_bytes[0])
    share = (memory_bytes - capacity) / (memory_bytes - full.memory_bytes)
    if not 0 < share < 1:
        return full
    return _Found(
        full.strategy,
        time_s + share * (full.step_time_s - time_s),
        memory_bytes + share * (full.memory_bytes - memory_bytes),
        full.host_ratio,
        share,
    )


def _expert_divisions(axes: Axes) -> tuple[int, ...]:
    """Return over how many ranks an expert may be divided: as stated, else none or those of TP."""
    if axes.etp is not None:
        return (axes.etp,)
    tp = axes.tp or 1
    ranks = tp * (axes.cp or 1) * (axes.dp or 1)
    return (1, tp) if tp > 1 and ranks % ((axes.ep or 1) * tp) == 0 else (1,)


def _interleavings(job: Job, axes: Axes) -> tuple[int, ...]:
    """Return the numbers of chunks a stage may hold, equal ones if any, else one.

    Embedding and head may count as a layer each, as Megatron-Core divides Llama-3.1-405B's 126.
    """
    pp = axes.pp or 1
    micro_batches = job.global_batch / ((axes.dp or 1) * (axes.micro_batch or 1))
    if pp == 1 or micro_batches % pp:
        return (1,)
    depth = job.model.depth
    counted = next((d for d in (depth, depth + 2, depth + 1) if d % pp == 0), depth)
    return tuple(v for v in divisors(max(counted // pp, 1)) if counted % (pp * v) == 0) or (1,)


def _legal(job: Job, axes: Axes, recompute: Sequence[Recompute]) -> Strategies:
    """Return the legal strategies that agree with the stated axes and the software's habits."""

    def only(value: int | None) -> tuple[int, ...] | None:
        return None if value is None else (value,)

    choices = Choices(
        tp=only(axes.tp),
        pp=only(axes.pp),
        vp=only(axes.vp),
        dp=only(axes.dp),
        cp=only(axes.cp) or (1,),
        ep=only(axes.ep),
        etp=only(axes.etp) or (1,),
        micro_batch=only(axes.micro_batch),
        zero=only(axes.zero),
        recompute=recompute,
        schedule=(axes.schedule,) if axes.pp is not None and axes.pp > 1 else ("1f1b",),
    )
    limits = limits_of(job.model, job.sequence, job.global_batch)
    strategies = legal_strategies(limits, [job.system.count], choices)
    habit, selective = job.software.sequence_parallel, RECOMPUTE.index("selective")
    divided = (habit == "always") | (habit == "selective") & (strategies.recompute == selective)
    follows = strategies.sp == (divided & (strategies.tp > 1))
    if axes.micro_batch is None:
        follows &= strategies.micro_batch <= _SEARCHED_MICRO_BATCH
    strategies = strategies.take(np.flatnonzero(follows))
    replicas = np.minimum(axes.replicas, strategies.dp)
    return Strategies.from_columns(strategies.columns() | {"replicas": replicas})
