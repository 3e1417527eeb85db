"""The report of a plan: what the person who signs and the engineer who runs it want to know."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version

from costsim.architectures.pictures import native_image
from costsim.costs.budget import Line
from costsim.planning.plans import Candidate, Plan
from costsim.reporting.model import (
    Answer,
    Column,
    HeatMap,
    KeyFigure,
    KeyFigures,
    Kind,
    Note,
    NoteKind,
    Provenance,
    Quantity,
    Report,
    Section,
    Source,
    Table,
    Tree,
    TreeLine,
)
from costsim.reporting.plan_charts import (
    TIME_NAMES,
    divisions,
    memory_bars,
    roofline,
    sharding,
    space,
    time_bars,
)
from costsim.training.strategy import describe, details, division
from costsim.units import format_bytes, format_duration, format_usd

_DAY_S = 86_400
_GRAMS_PER_TONNE = 1e6
_WHOLE_FROM = 100.0  # samples a second from which fractions of one say nothing


def plan_report(plan: Plan) -> Report:
    """Return the report of `plan`."""
    best = plan.best
    return Report(
        title=plan.name,
        subtitle=_subtitle(plan),
        answer=_answer(plan),
        sections=(
            Section("Budget", "What is paid for, line by line.", (_budget(plan),)),
            Section("Time", _time_intro(best), (time_bars(plan), roofline(plan))),
            Section("Memory", _memory_intro(plan), (memory_bars(plan),)),
            Section("Alternatives", _searched(plan), (space(plan), _map(plan), _candidates(plan))),
            Section("Model and traffic", blocks=(_model(plan), *_traffic(best))),
        ),
        provenance=_provenance(plan),
        notes=_notes(plan),
        sources=tuple(Source(key, text) for key, text in plan.sources.items()),
    )


def _subtitle(plan: Plan) -> str:
    job = plan.job
    return " · ".join(
        (
            job.model.name,
            *_amount(plan),
            f"global batch {job.global_batch:,}",
            *_size(plan),
            f"{job.precision.name} with {job.optimizer}",
            job.software.name,
        )
    )


def _amount(plan: Plan) -> tuple[str, ...]:
    """Say how much is trained, in what the workload counts."""
    workload = plan.scenario["workload"]
    if plan.job.counts == "tokens":
        return (f"{workload['tokens'] / 1e9:,.0f} B tokens",)
    if "samples" in workload:
        return (f"{workload['samples'] / 1e6:,.4g} M samples",)
    return (f"{workload['epochs']:g} epochs of {workload['dataset_samples']:,.0f} samples",)


def _size(plan: Plan) -> tuple[str, ...]:
    """Say how large a sample is: its pixels, its tokens, or both."""
    job, image = plan.job, native_image(plan.job.model)
    pixels = () if image is None else (f"image {' x '.join(f'{side:,}' for side in image)}",)
    if image is not None and not job.model.reads_tokens:
        return pixels
    stated = int(plan.scenario["workload"]["sequence"])
    computed = "" if job.sequence == stated else f" ({job.sequence:,} without padding)"
    return (*pixels, f"sequence {stated:,}{computed}")


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

    def throughput() -> KeyFigure:
        if best.job.counts == "tokens":
            return figure("Throughput", "tokens_per_s", "si", "token/s")
        whole: Kind = "count" if best.value("samples_per_s") >= _WHOLE_FROM else "number"
        return figure("Throughput", "samples_per_s", whole, "samples/s")

    def emissions() -> KeyFigure:
        if best.value("co2e_t") >= 1 or best.job.counts == "tokens":
            kind, unit, scale = "number", "t CO2e", 1.0
        else:
            kind, unit, scale = "si", "g CO2e", _GRAMS_PER_TONNE
        why = "location-based"
        return figure("Emissions", "co2e_t", kind, unit, scale, cites=("grid",), why=why)

    return (
        figure("Cost", "cost_usd", "usd", cites=("price",), why="all lines of the budget"),
        figure("Wall time", "days", "seconds", scale=_DAY_S, why="lost time included"),
        figure("Device time", "device_hours", "count", "device-hours"),
        figure("MFU", "mfu_ratio", "ratio", why="model FLOPs, without recomputation"),
        figure("HFU", "hfu_ratio", "ratio", why="with recomputation"),
        throughput(),
        figure("Energy", "energy_kwh", "si", "Wh", scale=1e3, cites=("power", "pue")),
        emissions(),
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
        f"{seconds / total:.0%} of a step is {TIME_NAMES.get(name, name)}: "
        f"{best.value('mfu_ratio'):.0%} of the peak rate serves the model."
    )
    said = ("matrix", "attention", "memory_bound", name)
    name, seconds = next((n, s) for n, s in ranked if n not in said)
    reasons.append(
        f"{TIME_NAMES.get(name, name).capitalize()} adds {seconds / total:.0%}; interruptions "
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
    alone = best.job.counts == "samples" and best.strategy.pp == 1
    along = "" if alone else ", along the slowest pipeline stage"
    return (
        f"Where the {format_duration(best.value('step_time_s'))} of a step go{along}; "
        f"{best.steps:,} steps in all."
    )


def _memory_intro(plan: Plan) -> str:
    fullest = plan.best.value("memory_bytes_per_device")
    return (
        f"The fullest device holds {format_bytes(fullest)} of "
        f"{format_bytes(plan.search.capacity_bytes)}."
    )


def _searched(plan: Plan) -> str:
    found = plan.search
    rejected = "".join(f" {count:,} {reason}." for reason, count in found.rejected.items())
    return f"{found.searched:,} strategies were evaluated; {len(found.order):,} fit.{rejected}"


def _map(plan: Plan) -> HeatMap:
    """Return the least time by what divides the devices, or, of copies, by what they hold."""
    return sharding(plan) if plan.job.counts == "samples" else divisions(plan)


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
    figures = [KeyFigure("Parameters", model.parameters, "count", cites=("model",))]
    counted = "no recompute"
    if job.counts == "tokens":
        figures.append(KeyFigure("Active parameters", model.active_parameters, "count"))
        counted = "full mask, no recompute"
    figures.append(KeyFigure("Training FLOPs", float(flops), "flops", explanation=counted))
    figures.append(KeyFigure("Steps", plan.best.steps, "count"))
    return KeyFigures(tuple(figures))


def _traffic(best: Candidate) -> tuple[Table, ...]:
    """Return the table of axes over which devices send anything, if there are any."""
    rows = tuple(
        (axis.upper(), sent, Quantity(sent / best.value("step_time_s"), "bytes_per_s"))
        for axis, sent in best.sent_bytes.items()
        if sent
    )
    if not rows:
        return ()
    columns = Column("Axis"), Column("Bytes", "bytes"), Column("Average rate", "bytes_per_s")
    return (Table("What a device sends in a step, by axis", columns, rows),)


def _notes(plan: Plan) -> tuple[Note, ...]:
    def kind(text: str) -> NoteKind:
        return "fallback" if "sheet" in text or "no provider" in text else "assumption"

    return tuple(Note(kind(text), text) for text in plan.notes)


def _provenance(plan: Plan) -> Provenance:
    text = json.dumps(plan.scenario, sort_keys=True).encode()
    return Provenance(
        version("costsim"), plan.price.price.as_of, hashlib.sha256(text).hexdigest()[:16]
    )
