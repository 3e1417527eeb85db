"""Sections that compare options of compression: what each costs and loses, and when it pays."""

from __future__ import annotations

from typing import Any

from costsim.planning.compare import BreakEven, Comparison, Contribution
from costsim.planning.plans import Candidate, Plan
from costsim.reporting.model import (
    Axis,
    Bar,
    Cell,
    Column,
    Point,
    Quantity,
    Scatter,
    Section,
    StackedBars,
    Table,
)
from costsim.units import format_duration, format_si

_DAY_S = 86_400
_QUALITY = (
    "What was published of each option's effect, and unknown otherwise; that of recipes together "
    "is known only where it was measured together."
)


def compared(plan: Plan[Any, Any]) -> Section | None:
    """Return the cheapest of each option and device."""
    found = plan.comparison
    if found is None:
        return None
    intro = (
        f"{len(found.ways)} of {len(found.ways) + len(plan.refused)} combinations can do it; "
        f"{len(found.dominated_by)} are no better than another in cost, latency or known quality."
    )
    rows = tuple(
        (
            _short(one),
            one.devices,
            one.value("cost_usd"),
            found.usd_per_million[one.label],
            found.latency_s[one.label],
            "dominated" if one.label in found.dominated_by else "yes",
        )
        for one in found.ways
    )
    table = Table(
        "Cheapest of each combination",
        (
            Column("Option"),
            Column("Devices", "count"),
            Column("Total", "usd"),
            Column("Per million", "usd"),
            Column("Latency", "seconds"),
            Column("Worth it"),
        ),
        rows,
        chosen=found.ways.index(plan.best),
        caption=f"Total is making and running; per million {plan.unit}s without making.",
    )
    return Section("Options", intro, (table, _made_and_run(plan, found)))


def contributions(plan: Plan[Any, Any]) -> Section | None:
    """Return what each step from no compression to the best brings."""
    found = plan.comparison
    if found is None or not found.waterfall:
        return None
    title = f"From no compression to {plan.best.option.name}"
    tables = [_waterfall(title, found.waterfall)]
    if found.cheapest is not plan.best:
        title = f"To the cheapest of all, {found.cheapest.option.name}"
        tables.append(_waterfall(title, found.cheapest_waterfall))
    return Section("What each step contributes", "", tuple(tables))


def break_even(plan: Plan[Any, Any]) -> Section | None:
    """Return from what volume on options pay for their making."""
    found = plan.comparison
    if found is None or not found.break_even:
        return None
    by_label = {one.label: one for one in found.ways}

    def row(entry: BreakEven) -> tuple[Cell, ...]:
        units = "never" if entry.units is None else Quantity(entry.units, "count")
        seconds = None if entry.days is None else entry.days * _DAY_S
        option = _short(by_label[entry.option])
        return option, entry.making_usd, entry.saved_usd_per_mtok, units, seconds

    shown = [
        entry
        for entry in found.break_even
        if by_label[entry.option] is not found.baseline and entry.option not in found.dominated_by
    ]
    table = Table(
        "Against no compression",
        (
            Column("Option"),
            Column("Making", "usd"),
            Column("Saved per million", "usd"),
            Column(f"{plan.unit}s".capitalize(), "count"),
            Column("Time", "seconds"),
        ),
        tuple(row(entry) for entry in shown),
        caption="Options that another beats are left out.",
    )
    return Section("Break-even", _break_even_intro(plan, found), (table,))


def cost_and_latency(plan: Plan[Any, Any]) -> Section | None:
    """Return cost against latency of all options."""
    found = plan.comparison
    if found is None:
        return None
    points = tuple(
        Point(
            _short(one),
            found.latency_s[one.label],
            one.value("cost_usd"),
            one.label not in found.dominated_by,
            one is plan.best,
        )
        for one in found.ways
    )
    axes = Axis(f"time of a {plan.unit}", "seconds"), Axis("total", "usd")
    return Section("Cost and latency", "", (Scatter("Cost against latency", *axes, points),))


def quality(plan: Plan[Any, Any]) -> Section | None:
    """Return what was published of each option's quality."""
    found = plan.comparison
    if found is None:
        return None
    rows = tuple(dict.fromkeys((one.option.name, one.option.loss.text) for one in found.ways))
    table = Table("Published changes of quality", (Column("Option"), Column("Change")), rows)
    return Section("Quality", _QUALITY, (table,))


def refused(plan: Plan[Any, Any]) -> Section | None:
    """Return options and places that cannot be, and why."""
    if not plan.refused:
        return None
    table = Table("Why not", (Column("Option"), Column("Reason")), plan.refused)
    return Section("Not possible", "", (table,))


def _short(candidate: Candidate[Any]) -> str:
    """Return a label that fits a column: the option and the device's own name."""
    maker, _, device = candidate.system.accelerator.name.partition(" ")
    return f"{candidate.option.name}, {device or maker}"


def _made_and_run(plan: Plan[Any, Any], found: Comparison) -> StackedBars:
    kept = [o for o in found.ways if o.label not in found.dominated_by or o is found.baseline]
    bars = tuple(Bar(_short(o), (o.value("running_usd"), o.value("making_usd"))) for o in kept)
    limit = plan.scenario["limits"].get("cost")
    label = "" if limit is None else "budget"
    names = ("running", "making")
    return StackedBars(
        "Running and making", names, bars, kind="usd", limit=limit, limit_label=label
    )


def _waterfall(title: str, steps: tuple[Contribution, ...]) -> Table:
    return Table(
        title,
        (Column("Step"), Column("Changes the total by", "usd"), Column("Total after it", "usd")),
        tuple((c.step, c.change_usd or None, c.total_usd) for c in steps),
    )


def _break_even_intro(plan: Plan[Any, Any], found: Comparison) -> str:
    pays = next((b for b in found.break_even if b.option == plan.best.label), None)
    if pays is None or pays.units is None or plan.best is found.baseline or not pays.units:
        return f"From how many {plan.unit}s on an option has paid for its making."
    assert pays.days is not None
    return (
        f"{plan.best.option.name} has paid for its making after {format_si(pays.units)} "
        f"{plan.unit}s: {format_duration(pays.days * _DAY_S)} at this traffic."
    )
