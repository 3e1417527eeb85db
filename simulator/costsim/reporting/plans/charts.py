"""The charts of a plan's report: time and memory by part, the roofline, and the space of plans."""

from __future__ import annotations

from collections import Counter

import numpy as np

from costsim.architectures.workload import Shard, Workload
from costsim.hardware.blocks import Formats
from costsim.hardware.kernels import load_kernel_model
from costsim.hardware.roofline import operator_figures
from costsim.planning.plans import Candidate, Plan
from costsim.planning.strategies import describe, details, division, pareto
from costsim.planning.workloads.training.run import Space, TrainingRun
from costsim.reporting.model import (
    Axis,
    Bar,
    HeatMap,
    Kind,
    Point,
    Roofline,
    RooflinePoint,
    Scatter,
    StackedBars,
)
from costsim.training.evaluate import TIME_PARTS
from costsim.training.memory import MEMORY_PARTS

_DAY_S = 86_400
TrainingPlan = Plan[TrainingRun, Space]
_CLOUD = 300  # points of the scatter besides the frontier
TIME_NAMES = {
    "matrix": "matrix products",
    "memory_bound": "element-wise",
    "data_parallel": "data parallel",
    "tensor_parallel": "tensor parallel",
    "context_parallel": "context parallel",
    "expert_parallel": "expert parallel",
    "pipeline_transfer": "pipeline transfer",
    "pipeline_bubble": "pipeline bubble",
    "input": "waiting for input",
}
"""What people call the parts of a step, where it is not their name."""


def shown(plan: TrainingPlan) -> list[Candidate[TrainingRun]]:
    """Return the best and what the scenario compares it with."""
    named = {one["name"] for one in plan.scenario.get("compare", ())}
    return [plan.best, *(one for one in plan.candidates if one.label in named)]


def time_bars(plan: TrainingPlan) -> StackedBars:
    """Return a step of the best and of the compared strategies, by part."""
    bars = shown(plan)
    every = ("generate", "score", *TIME_PARTS)
    names = [n for n in every if any(c.run.time_parts_s.get(n, 0.0) > 0 for c in bars)]
    return StackedBars(
        "Step time, by part",
        tuple(TIME_NAMES.get(name, name) for name in names),
        tuple(
            Bar(c.label, tuple(c.run.time_parts_s.get(name, 0.0) for name in names)) for c in bars
        ),
        "seconds",
    )


def memory_bars(plan: TrainingPlan) -> StackedBars:
    """Return what a device of each distinct pipeline stage holds, by part."""
    return StackedBars(
        "Memory per device, by pipeline stage",
        MEMORY_PARTS,
        tuple(
            Bar(stage, tuple(parts[name] for name in MEMORY_PARTS))
            for stage, parts in plan.best.run.memory_parts_bytes
        ),
        "bytes",
        limit=plan.best.run.job.system.accelerator.memory_usable_bytes,
        limit_label="device memory",
    )


def roofline(plan: TrainingPlan) -> Roofline:
    """Place the operators of one layer, as one device runs them, under the device's roof."""
    job, strategy = plan.best.run.job, plan.best.run.strategy
    accelerator = plan.system.accelerator
    workload = Workload(strategy.micro_batch, job.sequence // strategy.cp, job.sequence)
    # Towers that texts pass by have layers too, of no work.
    layers = [
        block for block in job.model.blocks(workload) if block.part == "layer" and block.flops()
    ]
    layer, kind = layers[0], "one layer"
    if job.counts == "samples" and len(layers) > 1:
        # Stages of a net differ: the one with most work.
        layer = max(layers, key=lambda block: float(block.count * block.flops()))
        kind = f"`{layer.name}`"
    heads = strategy.cp if strategy.cp_exchange == "all_to_all" else 1
    inside = (strategy.tp, strategy.sp, strategy.ep, strategy.etp)
    local = layer.shard(Shard(*inside, cp=strategy.cp // heads, cp_heads=heads))
    recipe = job.precision
    figures = operator_figures(
        load_kernel_model(accelerator),
        local,
        job.execution,
        Formats(recipe.matrix_dtype, recipe.other_dtype, recipe.activation_bytes),
    )
    total = sum(figure.seconds for figure in figures)
    return Roofline(
        f"Operators of {kind} under the device's roof, forward",
        accelerator.name,
        accelerator.peak_flops_per_s(recipe.peak_dtype),
        accelerator.memory_bandwidth_bytes_per_s,
        tuple(
            RooflinePoint(
                figure.name,
                figure.intensity_flops_per_byte,
                figure.flops / figure.seconds,
                figure.seconds / total,
            )
            for figure in figures
            if figure.flops
        ),
        caption="Operators without matrix products have no place here; their share of the time "
        f"is {sum(f.seconds for f in figures if not f.flops) / total:.0%}.",
    )


def space(plan: TrainingPlan) -> Scatter:
    """Show the whole space: time against memory, or against cost where counts differ."""
    found = plan.details.search.whole()
    evaluation, order = found.evaluation, found.order
    step_s = evaluation.step_time_s[order]
    devices = evaluation.strategies.devices[order]
    wall_s = step_s * plan.best.run.steps
    several = len(np.unique(devices)) > 1
    if several:
        second = wall_s / 3600 * devices * plan.price.usd_per_device_hour
        axis = Axis("Cost of useful steps", "usd")
    else:
        second = evaluation.memory_bytes[order]
        axis = Axis("Memory of the fullest device", "bytes")
    front = pareto(wall_s, second)
    slowest = wall_s[0] * 3
    inside = np.flatnonzero(~front & (wall_s < slowest))
    cloud = inside[:: max(1, len(inside) // _CLOUD)]
    alike = (
        len({evaluation.strategies.row(int(i)).division for i in order[front]}) == 1 < len(order)
    )
    points = [Point("", float(wall_s[i]), float(second[i])) for i in cloud]
    steps = np.flatnonzero(front & (wall_s < slowest))
    divided = Counter(division(evaluation.strategies.row(int(order[i]))) for i in steps)
    for i in steps:
        strategy = evaluation.strategies.row(int(order[i]))
        label = details(strategy) if alike else division(strategy)
        if not alike and divided[label] > 1:  # the rest tells them apart
            label = describe(strategy)
        if several:
            label = f"{int(devices[i]):,} devices, {label}"
        chosen = int(i) == 0
        points.append(Point(label, float(wall_s[i]), float(second[i]), True, chosen))
    return Scatter(
        "The space of plans",
        Axis("Time of useful steps", "seconds"),
        axis,
        tuple(points),
        "Each point is a strategy that fits; none beats those on the frontier in both measures. "
        "Strategies that take over three times the best are left out.",
    )


def divisions(plan: TrainingPlan) -> HeatMap:
    """Return the least time of every tensor and pipeline parallelism."""
    return _least(
        plan,
        ("tp", "TP"),
        ("pp", "Pipeline stages (PP)"),
        plan.details.search.whole().evaluation.step_time_s * plan.best.run.steps / _DAY_S,
        ("Days of useful steps by tensor and pipeline parallelism", "number", "days"),
    )


def sharding(plan: TrainingPlan) -> HeatMap:
    """Return the least time of every micro-batch and ZeRO stage."""
    return _least(
        plan,
        ("zero", "ZeRO stage"),
        ("micro_batch", "Samples in a micro-batch"),
        plan.details.search.whole().evaluation.step_time_s,
        ("Time of a step by ZeRO stage and micro-batch", "seconds", ""),
    )


def _least(
    plan: TrainingPlan,
    down: tuple[str, str],
    across: tuple[str, str],
    figures: np.ndarray,
    shown: tuple[str, Kind, str],
) -> HeatMap:
    """Return the least of `figures` by two axes of strategies, each a field and its name.

    `shown` are the map's title, and kind and unit of its figures.
    """
    found = plan.details.search.whole()
    strategies, order = found.evaluation.strategies, found.order
    same = order[strategies.devices[order] == plan.best.devices]
    first, second = (getattr(strategies, axis) for axis, _ in (down, across))
    rows, columns = (sorted({int(v) for v in values[same]}) for values in (first, second))
    values: list[tuple[float | None, ...]] = []
    for row in rows:
        cells: list[float | None] = []
        for column in columns:
            fitting = same[(first[same] == row) & (second[same] == column)]
            cells.append(float(figures[fitting].min()) if len(fitting) else None)
        values.append(tuple(cells))
    best = plan.best.run.strategy
    chosen = (rows.index(getattr(best, down[0])), columns.index(getattr(best, across[0])))
    title, kind, unit = shown
    return HeatMap(
        title,
        across[1],
        tuple(map(str, columns)),
        down[1],
        tuple(map(str, rows)),
        tuple(values),
        kind,
        unit,
        chosen,
        caption="The fastest of all that fit; empty: none fits.",
    )
