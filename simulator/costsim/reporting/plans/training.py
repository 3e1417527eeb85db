"""Sections of a training plan: its time, memory, alternatives, and what devices send."""

from __future__ import annotations

from typing import Any

from costsim.planning.intervals import fit_probability
from costsim.planning.plans import Candidate, Plan
from costsim.planning.strategies import details, division
from costsim.planning.workloads.training.run import Space, TrainingRun
from costsim.reporting.model import (
    Column,
    HeatMap,
    KeyFigure,
    KeyFigures,
    Quantity,
    Section,
    Table,
)
from costsim.reporting.plans.charts import (
    divisions,
    memory_bars,
    roofline,
    sharding,
    space,
    time_bars,
)
from costsim.units import format_bytes, format_duration

_DAY_S = 86_400
TrainingPlan = Plan[TrainingRun, Space]


def _trains(plan: Plan[Any, Any]) -> bool:
    return isinstance(plan.details, Space)


def time(plan: Plan[Any, Any]) -> Section | None:
    """Return where the time of a step goes."""
    if not _trains(plan):
        return None
    return Section("Time", _time_intro(plan.best), (time_bars(plan), roofline(plan)))


def memory(plan: Plan[Any, Any]) -> Section | None:
    """Return what a device holds."""
    if not _trains(plan):
        return None
    return Section("Memory", _memory_intro(plan), (memory_bars(plan),))


def alternatives(plan: Plan[Any, Any]) -> Section | None:
    """Return the space that was searched, and what else is worth a look in it."""
    if not _trains(plan):
        return None
    return Section("Alternatives", _searched(plan), (space(plan), _map(plan), _candidates(plan)))


def traffic(plan: Plan[Any, Any]) -> Section | None:
    """Return the work of the model and what its devices send."""
    if not _trains(plan):
        return None
    return Section("Model and traffic", blocks=(_model(plan), *_traffic(plan.best)))


def _time_intro(best: Candidate[TrainingRun]) -> str:
    alone = best.run.job.counts == "samples" and best.run.strategy.pp == 1
    along = "" if alone else ", along the slowest pipeline stage"
    return (
        f"Where the {format_duration(best.value('step_time_s'))} of a step go{along}; "
        f"{best.run.steps:,} steps in all."
    )


def _memory_intro(plan: TrainingPlan) -> str:
    held = plan.best.figures["memory_bytes_per_device"]
    capacity = plan.best.run.job.system.accelerator.memory_usable_bytes
    found = f"The fullest device holds {format_bytes(held.value)} of {format_bytes(capacity)}"
    if held.low is None or held.high is None:
        return f"{found}."
    chance = fit_probability(held.low, held.high, capacity)
    return f"{found}: it fits with a probability of {chance:.0%}."


def _searched(plan: TrainingPlan) -> str:
    found = plan.details.search
    rejected = "".join(f" {count:,} {reason}." for reason, count in found.rejected.items())
    return f"{found.searched:,} strategies are legal; {len(found.order):,} fit.{rejected}"


def _map(plan: TrainingPlan) -> HeatMap:
    """Return the least time by what divides the devices, or, of copies, by what they hold."""
    return sharding(plan) if plan.best.run.job.counts == "samples" else divisions(plan)


def _candidates(plan: TrainingPlan) -> Table:
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
            f"{candidate.devices:,}: {division(candidate.run.strategy)}"
            if several
            else division(candidate.run.strategy),
            details(candidate.run.strategy),
            candidate.value("days") * _DAY_S,
            candidate.value("cost_usd"),
            candidate.value("memory_bytes_per_device"),
            candidate.value("mfu_ratio"),
        )
        for candidate in plan.candidates
    )
    return Table("The best and its alternatives", columns, rows, chosen=0)


def _model(plan: TrainingPlan) -> KeyFigures:
    model, job = plan.best.run.job.model, plan.best.run.job
    flops = model.training_flops(1, job.sequence) * job.global_batch * plan.best.run.steps
    figures = [KeyFigure("Parameters", model.parameters, "count", cites=("model",))]
    counted = "no recompute"
    if job.counts == "tokens":
        figures.append(KeyFigure("Active parameters", model.active_parameters, "count"))
        counted = "full mask, no recompute"
    figures.append(KeyFigure("Training FLOPs", float(flops), "flops", explanation=counted))
    figures.append(KeyFigure("Steps", plan.best.run.steps, "count"))
    return KeyFigures(tuple(figures))


def _traffic(best: Candidate[TrainingRun]) -> tuple[Table, ...]:
    """Return the table of axes over which devices send anything, if there are any."""
    rows = tuple(
        (axis.upper(), sent, Quantity(sent / best.value("step_time_s"), "bytes_per_s"))
        for axis, sent in best.run.sent_bytes.items()
        if sent
    )
    if not rows:
        return ()
    columns = Column("Axis"), Column("Bytes", "bytes"), Column("Average rate", "bytes_per_s")
    return (Table("What a device sends in a step, by axis", columns, rows),)
