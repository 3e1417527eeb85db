"""The report of a plan: what the person who signs and the engineer who runs it want to know."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version

import numpy as np

from costsim.architectures.workload import Shard, Workload
from costsim.costs.budget import Line
from costsim.hardware.blocks import Formats
from costsim.hardware.kernels import load_kernel_model
from costsim.hardware.roofline import operator_figures
from costsim.planning.plans import Candidate, Plan
from costsim.planning.search import describe, details, division, pareto
from costsim.reporting.model import (
    Answer,
    Axis,
    Bar,
    Column,
    HeatMap,
    KeyFigure,
    KeyFigures,
    Kind,
    Note,
    NoteKind,
    Point,
    Provenance,
    Quantity,
    Report,
    Roofline,
    RooflinePoint,
    Scatter,
    Section,
    Source,
    StackedBars,
    Table,
    Tree,
    TreeLine,
)
from costsim.training.evaluate import TIME_PARTS
from costsim.training.memory import MEMORY_PARTS
from costsim.units import format_bytes, format_duration, format_usd

_DAY_S = 86_400
_CLOUD = 300  # points of the scatter besides the frontier
_TIME_NAMES = {
    "matrix": "matrix products",
    "memory_bound": "element-wise",
    "data_parallel": "data parallel",
    "tensor_parallel": "tensor parallel",
    "context_parallel": "context parallel",
    "expert_parallel": "expert parallel",
    "pipeline_transfer": "pipeline transfer",
    "pipeline_bubble": "pipeline bubble",
}


def plan_report(plan: Plan) -> Report:
    """Return the report of `plan`."""
    best = plan.best
    return Report(
        title=plan.name,
        subtitle=_subtitle(plan),
        answer=_answer(plan),
        sections=(
            Section("Budget", "What is paid for, line by line.", (_budget(plan),)),
            Section("Time", _time_intro(best), (_time(plan), _roofline(plan))),
            Section("Memory", _memory_intro(plan), (_memory(plan),)),
            Section("Alternatives", _searched(plan), (*_space(plan), _candidates(plan))),
            Section("Model and traffic", blocks=(_model(plan), _traffic(best))),
        ),
        provenance=_provenance(plan),
        notes=_notes(plan),
        sources=tuple(Source(key, text) for key, text in plan.sources.items()),
    )


def _subtitle(plan: Plan) -> str:
    workload = plan.scenario["workload"]
    return " · ".join(
        (
            plan.job.model.name,
            f"{workload['tokens'] / 1e9:,.0f} B tokens",
            f"global batch {plan.job.global_batch:,}",
            f"sequence {plan.job.sequence:,}",
            f"{plan.job.precision.name} with {plan.job.optimizer}",
            plan.job.software.name,
        )
    )


def _days(days: float) -> str:
    return format_duration(days * _DAY_S)


def _answer(plan: Plan) -> Answer:
    best = plan.best
    cost = best.figures["cost_usd"]
    text = (
        f"Training takes {_days(best.value('days'))} and costs {format_usd(cost.value)} on "
        f"{best.devices:,} x {plan.system.accelerator.name}, with {describe(best.strategy)}."
    )
    return Answer(text, _key_figures(best), _reasons(plan))


def _key_figures(best: Candidate) -> tuple[KeyFigure, ...]:
    def figure(
        label: str,
        name: str,
        kind: Kind,
        unit: str = "",
        scale: float = 1.0,
        cites: tuple[str, ...] = (),
        why: str = "",
    ) -> KeyFigure:
        found = best.figures[name]
        return KeyFigure(
            label,
            found.value * scale,
            kind,
            unit,
            found.low * scale,
            found.high * scale,
            why,
            cites,
        )

    return (
        figure("Cost", "cost_usd", "usd", cites=("price",), why="all lines of the budget"),
        figure("Wall time", "days", "seconds", scale=_DAY_S, why="lost time included"),
        figure("Device time", "device_hours", "count", "device-hours"),
        figure("MFU", "mfu_ratio", "ratio", why="model FLOPs, without recomputation"),
        figure("HFU", "hfu_ratio", "ratio", why="with recomputation"),
        figure("Throughput", "tokens_per_s", "si", "token/s"),
        figure("Energy", "energy_kwh", "si", "Wh", scale=1e3, cites=("power", "pue")),
        figure("Emissions", "co2e_t", "number", "t CO2e", cites=("grid",), why="location-based"),
    )


def _reasons(plan: Plan) -> tuple[str, ...]:
    """Return the three largest reasons for the total."""
    best = plan.best
    price = plan.price
    reasons = [
        f"{best.value('device_hours'):,.0f} device-hours at "
        f"${price.usd_per_device_hour:.2f} each ({price.price.provider}, {price.price.as_of})."
        if price.price.as_of
        else f"{best.value('device_hours'):,.0f} device-hours at "
        f"${price.usd_per_device_hour:.2f} each, as stated."
    ]
    total = sum(best.time_parts_s.values())
    ranked = sorted(best.time_parts_s.items(), key=lambda item: -item[1])
    name, seconds = ranked[0]
    reasons.append(
        f"{seconds / total:.0%} of a step is {_TIME_NAMES.get(name, name)}: "
        f"{best.value('mfu_ratio'):.0%} of the peak rate serves the model."
    )
    lost = [(n, s) for n, s in ranked if n not in ("matrix", "attention", "memory_bound")]
    name, seconds = lost[0]
    reasons.append(
        f"{_TIME_NAMES.get(name, name).capitalize()} adds {seconds / total:.0%}; interruptions "
        f"and checkpoints {1 - best.goodput.ratio:.1%} ({best.goodput.note})."
    )
    return tuple(reasons)


def _budget(plan: Plan) -> Tree:
    def line(entry: Line) -> TreeLine:
        children = tuple(line(child) for child in entry.children)
        return TreeLine(
            entry.name,
            None if children else entry.usd,
            entry.quantity,
            entry.unit,
            entry.note,
            ("price",) if entry.source and not children else (),
            children,
        )

    return Tree("Where the money goes", line(plan.budget.total))


def _time_intro(best: Candidate) -> str:
    return (
        f"Where the {format_duration(best.value('step_time_s'))} of a step go, along the slowest "
        f"pipeline stage; {best.steps:,} steps in all."
    )


def _shown(plan: Plan) -> list[Candidate]:
    """Return the best and what the scenario compares it with."""
    compared = [c for c in plan.candidates[1:] if not c.label.startswith("option ")]
    return [plan.best, *compared]


def _time(plan: Plan) -> StackedBars:
    shown = _shown(plan)
    names = [n for n in TIME_PARTS if any(c.time_parts_s[n] > 0 for c in shown)]
    return StackedBars(
        "Step time, by part",
        tuple(_TIME_NAMES.get(name, name) for name in names),
        tuple(Bar(c.label, tuple(c.time_parts_s[name] for name in names)) for c in shown),
        "seconds",
    )


def _memory_intro(plan: Plan) -> str:
    fullest = plan.best.value("memory_bytes_per_device")
    return (
        f"The fullest device holds {format_bytes(fullest)} of "
        f"{format_bytes(plan.search.capacity_bytes)}."
    )


def _memory(plan: Plan) -> StackedBars:
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


def _roofline(plan: Plan) -> Roofline:
    """Place the operators of one layer, as one device runs them, under the device's roof."""
    job, strategy = plan.job, plan.best.strategy
    accelerator = plan.system.accelerator
    workload = Workload(strategy.micro_batch, job.sequence // strategy.cp, job.sequence)
    layer = next(b for b in job.model.blocks(workload) if b.part == "layer")
    local = layer.shard(Shard(strategy.tp, strategy.sp, strategy.ep, strategy.etp, strategy.cp))
    recipe = job.precision
    figures = operator_figures(
        load_kernel_model(accelerator),
        local,
        job.software.execution,
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


def _searched(plan: Plan) -> str:
    found = plan.search
    rejected = "".join(f" {count:,} {reason}." for reason, count in found.rejected.items())
    return f"{found.searched:,} strategies were evaluated; {len(found.order):,} fit.{rejected}"


def _space(plan: Plan) -> tuple[Scatter, HeatMap]:
    return _scatter(plan), _heat(plan)


def _scatter(plan: Plan) -> Scatter:
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


def _heat(plan: Plan) -> HeatMap:
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


def _candidates(plan: Plan) -> Table:
    columns = (
        Column("Plan"),
        Column("Division"),
        Column("Details"),
        Column("Time", "seconds"),
        Column("Cost", "usd"),
        Column("Memory", "bytes"),
        Column("MFU", "ratio"),
    )
    several = len({candidate.devices for candidate in plan.candidates}) > 1
    rows = tuple(
        (
            candidate.label,
            f"{candidate.devices:,}: {division(candidate.strategy)}"
            if several
            else division(candidate.strategy),
            details(candidate.strategy),
            candidate.value("days") * _DAY_S,
            candidate.value("cost_usd"),
            candidate.value("memory_bytes_per_device"),
            candidate.value("mfu_ratio"),
        )
        for candidate in plan.candidates
    )
    return Table("The best and its alternatives", columns, rows, chosen=0)


def _model(plan: Plan) -> KeyFigures:
    model, job = plan.job.model, plan.job
    flops = model.training_flops(1, job.sequence) * job.global_batch * plan.best.steps
    return KeyFigures(
        (
            KeyFigure("Parameters", model.parameters, "count", cites=("model",)),
            KeyFigure("Active parameters", model.active_parameters, "count"),
            KeyFigure(
                "Training FLOPs", float(flops), "flops", explanation="full mask, no recompute"
            ),
            KeyFigure("Steps", plan.best.steps, "count"),
        )
    )


def _traffic(best: Candidate) -> Table:
    rows = tuple(
        (axis.upper(), sent, Quantity(sent / best.value("step_time_s"), "bytes_per_s"))
        for axis, sent in best.sent_bytes.items()
    )
    return Table(
        "What a device sends in a step, by axis",
        (Column("Axis"), Column("Bytes", "bytes"), Column("Average rate", "bytes_per_s")),
        rows,
    )


def _notes(plan: Plan) -> tuple[Note, ...]:
    def kind(text: str) -> NoteKind:
        return "fallback" if "sheet" in text or "no provider" in text else "assumption"

    return tuple(Note(kind(text), text) for text in plan.notes)


def _provenance(plan: Plan) -> Provenance:
    text = json.dumps(plan.scenario, sort_keys=True).encode()
    return Provenance(
        version("costsim"), plan.price.price.as_of, hashlib.sha256(text).hexdigest()[:16]
    )
