"""The charts of a plan's report: time and memory by part, the roofline, and the space of plans."""

from __future__ import annotations

import numpy as np

from costsim.architectures.workload import Shard, Workload
from costsim.hardware.blocks import Formats
from costsim.hardware.kernels import load_kernel_model
from costsim.hardware.roofline import operator_figures
from costsim.planning.plans import Candidate, Plan
from costsim.planning.search import division, pareto
from costsim.reporting.model import (
    Axis,
    Bar,
    HeatMap,
    Point,
    Roofline,
    RooflinePoint,
    Scatter,
    StackedBars,
)
from costsim.training.evaluate import TIME_PARTS
from costsim.training.memory import MEMORY_PARTS

_DAY_S = 86_400
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
}
"""What people call the parts of a step, where it is not their name."""


def shown(plan: Plan) -> list[Candidate]:
    """Return the best and what the scenario compares it with."""
    compared = [c for c in plan.candidates[1:] if not c.label.startswith("option ")]
    return [plan.best, *compared]


def time_bars(plan: Plan) -> StackedBars:
    """Return a step of the best and of the compared strategies, by part."""
    bars = shown(plan)
    names = [n for n in TIME_PARTS if any(c.time_parts_s[n] > 0 for c in bars)]
    return StackedBars(
        "Step time, by part",
        tuple(TIME_NAMES.get(name, name) for name in names),
        tuple(Bar(c.label, tuple(c.time_parts_s[name] for name in names)) for c in bars),
        "seconds",
    )


def memory_bars(plan: Plan) -> StackedBars:
    """Return what a device of each distinct pipeline stage holds, by part."""
    return StackedBars(
        "Memory per device, by pipeline stage",
        MEMORY_PARTS,
        tuple(
            Bar(stage, tuple(parts[name] for name in MEMORY_PARTS))
            for stage, parts in plan.best.memory_parts_bytes
        ),
        "bytes",
        limit=plan.search.capacity_bytes,
        limit_label="device memory",
    )


def roofline(plan: Plan) -> Roofline:
    """Place the operators of one layer, as one device runs them, under the device's roof."""
    job, strategy = plan.job, plan.best.strategy
    accelerator = plan.system.accelerator
    workload = Workload(strategy.micro_batch, job.sequence // strategy.cp, job.sequence)
    layer = next(b for b in job.model.blocks(workload) if b.part == "layer")
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
        "Operators of one layer under the device's roof, forward",
        accelerator.name,
        accelerator.peak_flops_per_s(recipe.matrix_dtype),
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


def space(plan: Plan) -> Scatter:
    """Show the whole space: time against memory, or against cost where counts differ."""
    found = plan.search
    evaluation, order = found.evaluation, found.order
    step_s = evaluation.step_time_s[order]
    devices = evaluation.strategies.devices[order]
    wall_s = step_s * plan.best.steps
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
    points = [Point("", float(wall_s[i]), float(second[i])) for i in cloud]
    for i in np.flatnonzero(front & (wall_s < slowest)):
        label = division(evaluation.strategies.row(int(order[i])))
        if several:
            label = f"{int(devices[i]):,} devices, {label}"
        chosen = int(i) == 0
        points.append(Point(label, float(wall_s[i]), float(second[i]), True, chosen))
    return Scatter(
        "The space of plans",
        Axis("Time of useful steps", "seconds"),
        axis,
        tuple(points),
        "Each point is a strategy that fits; none beats those on the stairs in both measures. "
        "Strategies that take over three times the best are left out.",
    )


def divisions(plan: Plan) -> HeatMap:
    """Return the least time of every tensor and pipeline parallelism."""
    found = plan.search
    strategies, order = found.evaluation.strategies, found.order
    same = order[strategies.devices[order] == plan.best.devices]
    tps = sorted({int(v) for v in strategies.tp[same]})
    pps = sorted({int(v) for v in strategies.pp[same]})
    days = found.evaluation.step_time_s * plan.best.steps / _DAY_S
    values: list[tuple[float | None, ...]] = []
    for tp in tps:
        cells: list[float | None] = []
        for pp in pps:
            rows = same[(strategies.tp[same] == tp) & (strategies.pp[same] == pp)]
            cells.append(float(days[rows].min()) if len(rows) else None)
        values.append(tuple(cells))
    chosen = (tps.index(plan.best.strategy.tp), pps.index(plan.best.strategy.pp))
    return HeatMap(
        "Days of useful steps by tensor and pipeline parallelism",
        "Pipeline stages (PP)",
        tuple(map(str, pps)),
        "TP",
        tuple(map(str, tps)),
        tuple(values),
        "number",
        "days",
        chosen,
        caption="The fastest of all that fit; empty: none fits.",
    )
