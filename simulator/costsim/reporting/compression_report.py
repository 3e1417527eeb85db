"""The report of a comparison of compressed models: what is best, what each step brings, when."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version

from costsim.planning.compression_plans import (
    LATENCIES,
    UNITS,
    BreakEven,
    Candidate,
    CompressionPlan,
    Contribution,
)
from costsim.reporting.model import (
    Answer,
    Axis,
    Bar,
    Cell,
    Column,
    KeyFigure,
    Note,
    Point,
    Provenance,
    Quantity,
    Report,
    Scatter,
    Section,
    Source,
    StackedBars,
    Table,
)
from costsim.units import format_duration, format_si, format_usd

_DAY_S = 86_400


def compression_report(plan: CompressionPlan) -> Report:
    """Return the report of `plan`."""
    sections = [Section("Options", _options_intro(plan), (_options(plan), _made_and_served(plan)))]
    if plan.waterfall:
        tables = [_waterfall(f"From no compression to {plan.best.option}", plan.waterfall)]
        if plan.cheapest is not plan.best:
            title = f"To the cheapest of all, {plan.cheapest.option}"
            tables.append(_waterfall(title, plan.cheapest_waterfall))
        sections.append(Section("What each step contributes", "", tuple(tables)))
    if plan.break_even:
        sections.append(Section("Break-even", _break_even_intro(plan), (_break_even(plan),)))
    sections.append(Section("Cost and latency", "", (_scatter(plan),)))
    sections.append(Section("Quality", _QUALITY, (_quality(plan),)))
    if plan.refused:
        sections.append(Section("Not possible", "", (_refused(plan),)))
    return Report(
        title=plan.name,
        subtitle=" · ".join((plan.best.compression.before.name, *_described(plan))),
        answer=_answer(plan),
        sections=tuple(sections),
        provenance=_provenance(plan),
        notes=tuple(Note("assumption", note) for note in plan.notes),
        sources=tuple(Source(key, text) for key, text in plan.sources.items()),
    )


def _described(plan: CompressionPlan) -> tuple[str, ...]:
    """Return the workload in a few words."""
    work = plan.scenario["workload"]
    if work["kind"] == "training":
        batch = f"batch {work['global_batch']:,} x {work['sequence']:,}"
        return f"{format_si(work['tokens'])} tokens", batch, work["precision"]
    months = f"{plan.scenario['months']:g} months"
    if work["kind"] == "forward":
        return f"{work['requests_per_s']:,g} samples/s", months
    lengths = f"{work['input_tokens']:,} + {work['output_tokens']:,} tokens"
    return f"{work['requests_per_s']:g} requests/s", lengths, months, work["engine"]


_QUALITY = (
    "What was published of each option's effect, and unknown otherwise; that of recipes together "
    "is known only where it was measured together."
)


def _answer(plan: CompressionPlan) -> Answer:
    best = plan.best
    service = best.service
    where = f"{service.devices:,} x {best.system.accelerator.name}"
    text = (
        f"{best.option} on {where} is {_chosen(plan)}: "
        f"{format_usd(best.total_usd)}, of which {format_usd(best.making_usd)} to make it."
    )
    if plan.baseline is not None and plan.baseline is not best:
        saved = plan.baseline.total_usd - best.total_usd
        text += f" Without compression it is {format_usd(saved)} more."
    low, high = best.total_range_usd
    figures = (
        KeyFigure("Total", best.total_usd, "usd", low=low, high=high, cites=("price",)),
        KeyFigure(f"Per million {_counted(plan)}", best.usd_per_mtok, "usd"),
        KeyFigure("Devices", service.devices, "count"),
        KeyFigure(f"Time of a {_latency(plan)}", service.latency_s, "seconds"),
        *(
            ()
            if service.first_s is None
            else (KeyFigure("Time to the first", service.first_s, "seconds"),)
        ),
        KeyFigure("Weights", best.effects.after.weights_bytes, "bytes"),
    )
    return Answer(text, figures, plan.reasons)


def _chosen(plan: CompressionPlan) -> str:
    if plan.scenario["limits"].get("quality_loss") is None:
        return "the cheapest"
    return "the cheapest within the limit of quality"


def _options_intro(plan: CompressionPlan) -> str:
    dominated = sum(1 for c in plan.candidates if c.dominated_by)
    return (
        f"{len(plan.candidates)} of {len(plan.candidates) + len(plan.refused)} combinations can "
        f"serve; {dominated} are no better than another in cost, latency or known quality."
    )


def _options(plan: CompressionPlan) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for c in plan.candidates:
        service, per_million = c.service, Quantity(c.usd_per_mtok, "usd")
        figures = (c.total_usd, per_million, service.latency_s)
        rows.append((_short(c), service.fleet, *figures, _worth(c)))
    return Table(
        "Cheapest fleet of each combination",
        (
            Column("Option"),
            Column("Fleet"),
            Column("Total", "usd"),
            Column("Per million", "usd"),
            Column(_latency(plan).capitalize(), "seconds"),
            Column("Worth it"),
        ),
        tuple(rows),
        chosen=plan.candidates.index(plan.best),
        caption=f"Total is making and {_running(plan)}; per million {_unit(plan)}s without making.",
    )


def _kind(plan: CompressionPlan) -> str:
    return plan.scenario["workload"]["kind"]


def _unit(plan: CompressionPlan) -> str:
    return UNITS[_kind(plan)]


def _counted(plan: CompressionPlan) -> str:
    """Return the unit's plural in one word."""
    return f"{_unit(plan).split()[-1]}s"


def _latency(plan: CompressionPlan) -> str:
    return LATENCIES[_kind(plan)]


def _running(plan: CompressionPlan) -> str:
    return "training" if _kind(plan) == "training" else "serving"


def _short(candidate: Candidate) -> str:
    """Return a label that fits a column: the option and the device's own name."""
    maker, _, device = candidate.system.accelerator.name.partition(" ")
    return f"{candidate.option}, {device or maker}"


def _worth(candidate: Candidate) -> str:
    return "dominated" if candidate.dominated_by else "yes"


def _made_and_served(plan: CompressionPlan) -> StackedBars:
    shown = [c for c in plan.candidates if not c.dominated_by or c is plan.baseline]
    bars = tuple(Bar(_short(c), (c.running_usd, c.making_usd)) for c in shown)
    limit = plan.limit_usd
    return StackedBars(
        "Where the money goes",
        (_running(plan), "making"),
        bars,
        kind="usd",
        limit=limit,
        limit_label="" if limit is None else "budget",
    )


def _waterfall(title: str, steps: tuple[Contribution, ...]) -> Table:
    return Table(
        title,
        (Column("Step"), Column("Changes the total by", "usd"), Column("Total after it", "usd")),
        tuple((c.step, c.change_usd or None, c.total_usd) for c in steps),
    )


def _break_even_intro(plan: CompressionPlan) -> str:
    pays = next((b for b in plan.break_even if b.option == plan.best.label), None)
    if pays is None or pays.units is None or plan.best is plan.baseline:
        return f"From how many {_unit(plan)}s on an option has paid for its making."
    assert pays.days is not None
    return (
        f"{plan.best.option} has paid for its making after {format_si(pays.units)} "
        f"{_unit(plan)}s: {format_duration(pays.days * _DAY_S)} at this traffic."
    )


def _break_even(plan: CompressionPlan) -> Table:
    by_label = {candidate.label: candidate for candidate in plan.candidates}

    def row(entry: BreakEven) -> tuple[Cell, ...]:
        units = "never" if entry.units is None else format_si(entry.units)
        seconds = None if entry.days is None else entry.days * _DAY_S
        option = _short(by_label[entry.option])
        return option, entry.making_usd, entry.saved_usd_per_mtok, units, seconds

    shown = [
        entry
        for entry in plan.break_even
        if by_label[entry.option] is not plan.baseline and not by_label[entry.option].dominated_by
    ]
    return Table(
        f"Against {_running(plan)} without compression",
        (
            Column("Option"),
            Column("Making", "usd"),
            Column("Saved per million", "usd"),
            Column(f"{_unit(plan)}s".capitalize()),
            Column("Time", "seconds"),
        ),
        tuple(row(entry) for entry in shown),
        caption="Options that another beats are left out.",
    )


def _scatter(plan: CompressionPlan) -> Scatter:
    return Scatter(
        "Cost against latency",
        Axis(f"time of a {_latency(plan)}", "seconds"),
        Axis("total", "usd"),
        tuple(
            Point(_short(c), c.service.latency_s, c.total_usd, not c.dominated_by, c is plan.best)
            for c in plan.candidates
        ),
    )


def _quality(plan: CompressionPlan) -> Table:
    seen = dict.fromkeys((c.option, c.loss.text) for c in plan.candidates)
    rows = tuple(seen)
    return Table("Published changes of quality", (Column("Option"), Column("Change")), rows)


def _refused(plan: CompressionPlan) -> Table:
    return Table("Why not", (Column("Option"), Column("Reason")), plan.refused)


def _provenance(plan: CompressionPlan) -> Provenance:
    text = json.dumps(plan.scenario, sort_keys=True).encode()
    digest = hashlib.sha256(text).hexdigest()[:16]
    return Provenance(version("costsim"), plan.best.price.price.as_of, digest)
