"""Planning: a scenario in, the best plan for it and what it costs out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from costsim.errors import InfeasiblePlanError, Problem
from costsim.hardware.kernels import load_kernel_model
from costsim.planning.costing import Costing
from costsim.planning.plans import Candidate, Plan
from costsim.planning.reading import check_divisions, read_scenario
from costsim.planning.resolving import Resolved, resolve
from costsim.planning.sampling import left_out
from costsim.planning.scenario import Comparison, SampleTraining, Scenario, StrategyChoices
from costsim.planning.search import Search, pareto, search
from costsim.training.job import Job
from costsim.training.space import Choices, divisors, limits_of_job
from costsim.units import format_duration

_ALTERNATIVES = 6  # that a plan lists besides the best and the compared
_WORTH_A_LOOK = 1.3  # times the best step time: beyond, less memory is not worth the time


def plan(source: str | Path | Mapping[str, Any], settings: Sequence[str] = ()) -> Plan:
    """Plan a scenario.

    Args:
        source: path of a scenario's YAML, or the same as a mapping.
        settings: overrides such as `hardware.devices=512`.

    Raises:
        SpecError: where the scenario must change; lists all its problems.
        InfeasiblePlanError: where no strategy fits; names the nearest fix.
    """
    read = read_scenario(source, settings)
    scenario = read.scenario
    resolved = resolve(read)
    job = resolved.job
    check_divisions(read, limits_of_job(job))
    costing = Costing(scenario, resolved)
    found = _search(scenario, job, costing)
    best_row = int(found.order[0])
    best = costing.candidate("best", job, found.evaluation, best_row)
    candidates = [best]
    for choice in scenario.compare:
        candidates.append(_compared(choice, job, costing, found))
    for index, row in enumerate(_alternatives(found, best_row), start=1):
        candidates.append(costing.candidate(f"option {index}", job, found.evaluation, row))
    return Plan(
        name=scenario.name,
        scenario=scenario.model_dump(mode="json", exclude_none=True),
        job=job,
        system=job.system.with_count(best.devices),
        best=best,
        candidates=tuple(candidates),
        budget=costing.budget(best),
        price=resolved.price,
        search=found,
        notes=_notes(resolved, costing),
        sources=_sources(resolved, costing),
    )


def _choices(stated: StrategyChoices, unfused: bool) -> Choices:
    axes = {name: getattr(stated, name) for name in StrategyChoices.model_fields}
    if axes["recompute"] is None and not unfused:
        # Fused attention keeps no scores, which is all that selective recomputation drops.
        axes["recompute"] = ("none", "full")
    axes["cp_exchange"] = axes["cp_exchange"] or ("ring",)
    return Choices(**axes)


def _search(scenario: Scenario, job: Job, costing: Costing) -> Search:
    unfused = job.software.attention == "unfused"
    choices = _choices(scenario.strategy, unfused)
    reserve = scenario.hardware.memory_reserve
    devices = scenario.hardware.devices
    if isinstance(devices, tuple):
        return search(job, devices, choices, reserve)
    deadline = scenario.limits.deadline or math.inf
    best: Search | None = None
    for count in _ladder(job, scenario, deadline):
        try:
            found = search(job, [count], choices, reserve)
        except InfeasiblePlanError:
            continue
        row = int(found.order[0])
        best = found
        if costing.wall_s(found.evaluation, row) <= deadline:
            return found
    if best is None:
        return search(job, [scenario.hardware.at_most], choices, reserve)
    return best


def _ladder(job: Job, scenario: Scenario, deadline_s: float) -> list[int]:
    """Numbers of devices to try, ascending: parts of a node that divide it, then whole nodes.

    Those whose peak rate cannot meet the deadline are left out.
    """
    steps = scenario.workload.steps
    peak = job.system.accelerator.peak_flops_per_s(job.precision.peak_dtype)
    flops = float(job.model.training_flops(1, job.sequence)) * job.global_batch * steps
    least = flops / peak / deadline_s
    node = job.system.devices_per_node
    rungs = {node * multiple << power for power in range(16) for multiple in (1, 3, 5, 7)}
    rungs |= set(divisors(node))
    return sorted(r for r in rungs if least <= r <= scenario.hardware.at_most)


def _compared(choice: Comparison, job: Job, costing: Costing, found: Search) -> Candidate:
    """Return the fastest strategy that matches, marked where it does not fit."""
    if choice.software is not None:
        job = costing.resolved.job_under(choice.software)
    unfused = job.software.attention == "unfused"
    counts = sorted({int(c) for c in found.evaluation.strategies.devices})
    try:
        inner = search(job, counts, _choices(choice, unfused))
    except InfeasiblePlanError as error:
        problem = error.problems[0]
        raise InfeasiblePlanError(
            Problem(
                f"compared strategy `{choice.name}`: {problem.message}",
                problem.location,
                problem.hint,
            )
        ) from None
    return costing.candidate(choice.name, job, inner.evaluation, int(inner.order[0]))


def _alternatives(found: Search, best: int) -> list[int]:
    """Return what else is worth a look, fastest first.

    The fastest of each other division of the devices, then of the Pareto set of time and memory
    those within `_WORTH_A_LOOK` of the best time, evenly spread.
    """
    evaluation, order = found.evaluation, found.order
    step_s = evaluation.step_time_s
    near = order[step_s[order] <= _WORTH_A_LOOK * step_s[best]]
    chosen: list[int] = []
    seen = {evaluation.strategies.row(best).division}
    for row in near:
        kind = evaluation.strategies.row(int(row)).division
        if kind not in seen:
            seen.add(kind)
            chosen.append(int(row))
        if len(chosen) == _ALTERNATIVES // 2:
            break
    front = near[pareto(step_s[near], evaluation.memory_bytes[near])]
    rest = [int(row) for row in front if int(row) not in (best, *chosen)]
    spread = np.linspace(0, len(rest) - 1, min(len(rest), _ALTERNATIVES // 2)).astype(int)
    chosen += [rest[i] for i in spread]
    return sorted(chosen, key=lambda row: float(step_s[row]))


def _notes(resolved: Resolved, costing: Costing) -> tuple[str, ...]:
    scenario = costing.scenario
    job, price = resolved.job, resolved.price
    kernels = load_kernel_model(job.system.accelerator)
    return (
        f"kernel times: {kernels.basis}",
        f"software profile `{job.software.name}`: {job.software.source}",
        *([f"constants of steps: {scenario.calibration}"] if scenario.calibration else []),
        f"price: {price.rule}",
        f"power: {costing.power_w.basis}",
        *_input_notes(resolved),
        *left_out(job.model),
        *job.model.notes,
        *price.warnings,
    )


def _input_notes(resolved: Resolved) -> tuple[str, ...]:
    """Say how fast samples are taken to come, where a step may wait for them."""
    workload, pipeline = resolved.workload, resolved.job.input
    if not isinstance(workload, SampleTraining):
        return ()
    if pipeline is None:
        return ("input: samples are taken to be there when devices ask for them",)
    stated = workload.input.sample is not None or workload.input.node_sample is not None
    basis = "as stated" if stated else f"as measured with `{resolved.job.software.name}`"
    return (
        f"input, {basis}: {format_duration(pipeline.device_sample_s)} a sample by the loader of a "
        f"device, {format_duration(pipeline.node_sample_s)} by all of a node",
    )


def _sources(resolved: Resolved, costing: Costing) -> dict[str, str]:
    job, price = resolved.job, resolved.price.price
    grid, pue = resolved.grid, resolved.pue
    return {
        "model": job.model.source,
        "hardware": f"{job.system.id}: {job.system.basis}",
        "price": f"{price}; {price.source}",
        "grid": f"{grid}; {grid.source}",
        "pue": f"{pue.value_ratio:.2f} ({pue.basis}); {pue.source}",
        "power": costing.power_w.basis,
    }
