"""The report of a service: how many of which device, what they promise, what a token costs."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version

from costsim.inference.metrics import Measured
from costsim.planning.serving_mix import Mix
from costsim.planning.serving_plan import ServingCandidate, ServingPlan
from costsim.reporting.model import (
    Answer,
    Axis,
    Column,
    KeyFigure,
    Lines,
    Note,
    Provenance,
    Report,
    Section,
    Series,
    Table,
    Text,
)
from costsim.units import format_duration, format_usd

_HOURS_PER_MONTH = 730.0


def serving_report(plan: ServingPlan) -> Report:
    """Return the report of `plan`."""
    best = plan.best
    return Report(
        title=plan.name,
        subtitle=_subtitle(plan),
        answer=_answer(plan),
        sections=(
            Section(
                "Devices compared",
                f"The cheapest fleet of each device and format that keeps the objectives, of "
                f"{plan.searched} kinds of replica.",
                (_compared(plan),),
            ),
            *_mixed(plan),
            Section(
                "Latency and load",
                "What the same replicas measure when fewer or more requests come, simulated "
                "request by request.",
                (_loads(plan), _percentiles(plan)),
            ),
            Section(
                "Throughput against speed",
                "What one device yields, and what one user sees, as a replica takes on more users.",
                (_curve(plan),),
            ),
            Section("Over a day", _day_intro(best), (_day(best), _money(best))),
            *_apart(plan),
            *_deployment(plan),
        ),
        provenance=_provenance(plan),
        notes=tuple(Note("assumption", text) for text in plan.notes),
    )


def _mixed(plan: ServingPlan) -> tuple[Section, ...]:
    """Show a fleet of several kinds beside the best of one, where it is the answer."""
    mix = plan.mix
    if mix is None:
        return ()
    kinds = (
        Column("Device, format, layout"),
        Column("Replicas", "count"),
        Column("Devices", "count"),
        Column("Requests/s/replica", "number"),
        Column("Fewest of a day", "count"),
        Column("An hour", "usd"),
    )
    hours = len(mix.day)
    rows = tuple(
        (
            kind.label,
            mix.replicas[i],
            mix.replicas[i] * kind.devices,
            kind.rate_per_s,
            min(hour[i] for hour in mix.day),
            sum(hour[i] for hour in mix.day) / hours * kind.usd_per_hour,
        )
        for i, kind in enumerate(mix.kinds)
    )
    fleets = (Column("Fleet"), Column("An hour", "usd"), *_latency_columns(plan))
    beside = (
        ("mixed", mix.usd_per_hour, *_latencies(plan, mix.measured)),
        ("of one device", plan.best.usd_per_hour, *_latencies(plan, plan.best.measured)),
    )
    intro = (
        "Requests are shared in proportion to what each kind carries; each hour runs the part "
        "that carries its rate at least cost, even if as many of its largest replicas as are spare "
        "fail."
    )
    compared = Table("Mixed and of one device", fleets, beside, chosen=0)
    return (Section("Mixed fleet", intro, (Table("Kinds", kinds, rows), compared)),)


def _apart(plan: ServingPlan) -> tuple[Section, ...]:
    """Compare with prompts and generation in pools of their own, where tokens are generated."""
    if not plan.generates:
        return ()
    best, pools = plan.best, plan.pools
    if pools is None:
        text = "No split of about as many replicas keeps the objectives."
        return (Section("Prompts and generation apart", text),)
    columns = (
        Column("Pools"),
        Column("Replicas", "count"),
        *_latency_columns(plan),
        Column("ITL p99", "seconds"),
    )
    rows = (
        (
            "together",
            best.replicas,
            *_latencies(plan, best.measured),
            best.measured.itl.p99_s,
        ),
        (
            f"{pools.prompts} for prompts, {pools.generation} for generation",
            pools.prompts + pools.generation,
            *_latencies(plan, pools.measured),
            pools.measured.itl.p99_s,
        ),
    )
    intro = "The same kind of replica, the cache of a prompt sent over the outermost links."
    table = Table("Pools", columns, rows, chosen=0)
    return (Section("Prompts and generation apart", intro, (table,)),)


def _deployment(plan: ServingPlan) -> tuple[Section, ...]:
    if plan.deploy is None:
        return ()
    intro = "One replica; put a load balancer before all of them."
    return (Section("Deployment", intro, (Text(plan.deploy),)),)


def _subtitle(plan: ServingPlan) -> str:
    workload = plan.scenario["workload"]
    parts = [plan.model.name, f"{workload['requests_per_s']:g} requests/s"]
    if plan.generates:
        measured = plan.best.measured
        parts += [
            f"{measured.input_tokens / measured.completed:,.0f} tokens in",
            f"{measured.output_tokens / measured.completed:,.0f} out",
            plan.engine.name,
        ]
    else:
        parts.append(f"batches up to {workload['max_batch']}")
    return " · ".join(parts)


def _promises(plan: ServingPlan) -> str:
    bounds = (
        ("first token within", plan.objective.ttft_s),
        ("tokens every", plan.objective.tpot_s),
        ("last token within" if plan.generates else "results within", plan.objective.e2e_s),
    )
    kept = [f"{what} {format_duration(value)}" for what, value in bounds if value is not None]
    return ", ".join(kept)


def _answer(plan: ServingPlan) -> Answer:
    best = plan.best
    promise = _promises(plan)
    held = f" {best.measured.attainment_ratio:.1%} of requests keep {promise}." if promise else ""
    spare = f" and {best.spare} spare" if best.spare else ""
    fleet = f"{best.replicas} replicas{spare} of {best.replica.label} ({best.devices} devices)"
    if plan.mix is not None:
        mix = plan.mix
        if promise:
            held = f" {mix.measured.attainment_ratio:.1%} of requests keep {promise}."
        text = (
            f"A mixed fleet serves it for {format_usd(mix.usd_per_hour)} an hour: {mix.label} "
            f"({mix.devices} devices, spare ones included).{held}"
        )
        return Answer(text, _mixed_figures(plan, mix), (_alone(plan),))
    text = f"{fleet} serve it for {format_usd(best.usd_per_hour)} an hour.{held}"
    return Answer(text, _figures(plan), _reasons(plan))


def _mixed_figures(plan: ServingPlan, mix: Mix) -> tuple[KeyFigure, ...]:
    measured = mix.measured
    cost = KeyFigure("Cost", mix.usd_per_hour * _HOURS_PER_MONTH, "usd", "a month")
    if not plan.generates:
        return (
            cost,
            KeyFigure("Price", mix.usd_per_mtok, "usd", "a million requests"),
            KeyFigure("Latency, median", measured.e2e.median_s, "seconds"),
            KeyFigure("Latency, 99th", measured.e2e.p99_s, "seconds"),
        )
    return (
        cost,
        KeyFigure("Price of a token", mix.usd_per_mtok, "usd", "a million, in and out"),
        KeyFigure("TTFT, median", measured.ttft.median_s, "seconds"),
        KeyFigure("TTFT, 99th", measured.ttft.p99_s, "seconds"),
        KeyFigure("TPOT, median", measured.tpot.median_s, "seconds"),
        KeyFigure("TPOT, 99th", measured.tpot.p99_s, "seconds"),
    )


def _alone(plan: ServingPlan) -> str:
    """Say what a fleet of one device would be, of which the sections after the mix tell."""
    best = plan.best
    have = plan.scenario["hardware"].get("available", {})
    systems = plan.scenario["hardware"]["system"]
    return (
        f"Of one device alone, {best.devices} devices of {best.replica.label} would cost "
        f"{format_usd(best.usd_per_hour)} an hour"
        + (
            f" ({', '.join(f'{have[one]} of {one}' for one in systems if one in have)} are "
            "available)"
            if have
            else ""
        )
        + "; the sections on latency, the day and deployment are of that fleet."
    )


def _figures(plan: ServingPlan) -> tuple[KeyFigure, ...]:
    best = plan.best
    cost = KeyFigure("Cost", best.usd_per_hour * _HOURS_PER_MONTH, "usd", "a month")
    if not plan.generates:
        whole = best.measured.e2e
        return (
            cost,
            KeyFigure("Price", best.usd_per_mtok_input, "usd", "a million requests"),
            KeyFigure("Latency, median", whole.median_s, "seconds"),
            KeyFigure("Latency, 99th", whole.p99_s, "seconds"),
            KeyFigure("Energy", best.joules_per_token, "si", "J", explanation="a request"),
        )
    first, each = best.measured.ttft, best.measured.tpot
    low_first, high_first = plan.interval("ttft_s", first.median_s)
    low_each, high_each = plan.interval("tpot_s", each.median_s)
    return (
        cost,
        KeyFigure("Price of a token", best.usd_per_mtok, "usd", "a million, in and out"),
        KeyFigure("Price of input", best.usd_per_mtok_input, "usd", "a million, by its time"),
        KeyFigure("Price of output", best.usd_per_mtok_output, "usd", "a million, by its time"),
        KeyFigure("TTFT, median", first.median_s, "seconds", "", low_first, high_first),
        KeyFigure("TTFT, 99th", first.p99_s, "seconds"),
        KeyFigure("TPOT, median", each.median_s, "seconds", "", low_each, high_each),
        KeyFigure("TPOT, 99th", each.p99_s, "seconds"),
        KeyFigure("Energy", best.joules_per_token, "si", "J", explanation="a generated token"),
    )


def _reasons(plan: ServingPlan) -> tuple[str, ...]:
    best = plan.best
    found = [
        f"{best.mean_devices:.1f} devices run on the mean of a day, at "
        f"${best.price.usd_per_device_hour:.2f} an hour each.",
        f"A replica has room for {best.replica.slots:,.0f} requests and is at work "
        f"{best.measured.busy_ratio:.0%} of the busiest time.",
    ]
    others = [c for c in plan.candidates if c.replica.system.id != best.replica.system.id]
    if others:
        next_best = others[0]
        more = next_best.usd_per_hour / best.usd_per_hour - 1.0
        found.append(f"The next best device, {next_best.label}, costs {more:.0%} more.")
    return tuple(found)


def _compared(plan: ServingPlan) -> Table:
    fleet = (
        Column("Device"),
        Column("Format"),
        Column("Replica"),
        Column("Replicas", "count"),
        Column("Devices", "count"),
        Column("An hour", "usd"),
    )
    priced = Column("Mtok" if plan.generates else "M requests", "usd")
    each = Column("Token/s/device" if plan.generates else "Requests/s/device", "number")
    columns = (*fleet, priced, *_latency_columns(plan), each)
    rows = tuple(
        (
            one.replica.system.accelerator.name,
            one.replica.quantization.dense,
            str(one.replica.layout),
            one.replicas,
            one.devices,
            one.usd_per_hour,
            one.usd_per_mtok if plan.generates else one.usd_per_mtok_input,
            *_latencies(plan, one.measured),
            one.measured.output_tokens_per_s / (one.replicas * one.replica.layout.devices),
        )
        for one in plan.candidates
    )
    chosen = plan.candidates.index(plan.best) if plan.mix is None else None
    return Table("Fleets", columns, rows, chosen=chosen)


def _latency_columns(plan: ServingPlan) -> tuple[Column, ...]:
    names = ("TTFT p99", "TPOT p99", "TTFT p50", "TPOT p50")
    if not plan.generates:
        names = ("Latency p99", "p50")
    return tuple(Column(name, "seconds") for name in names)


def _latencies(plan: ServingPlan, one: Measured) -> tuple[float, ...]:
    if not plan.generates:
        return one.e2e.p99_s, one.e2e.median_s
    return one.ttft.p99_s, one.tpot.p99_s, one.ttft.median_s, one.tpot.median_s


def _loads(plan: ServingPlan) -> Table:
    columns = (
        Column("Load", "ratio"),
        Column("Requests/s", "number"),
        Column("Within objectives", "ratio"),
        *_latency_columns(plan),
        Column("At work", "ratio"),
        Column("Preempted", "count"),
    )
    rate = plan.scenario["workload"]["requests_per_s"]
    rows = tuple(
        (
            load,
            rate * load,
            one.attainment_ratio,
            *_latencies(plan, one),
            one.busy_ratio,
            one.preemptions,
        )
        for load, one in plan.sensitivity
    )
    return Table(
        "Sensitivity to load",
        columns,
        rows,
        caption=f"{plan.best.replicas} replicas, without the spare ones.",
    )


def _percentiles(plan: ServingPlan) -> Table:
    one = plan.best.measured
    columns = (
        Column("Latency"),
        Column("Mean", "seconds"),
        Column("Median", "seconds"),
        Column("p90", "seconds"),
        Column("p95", "seconds"),
        Column("p99", "seconds"),
    )
    rows = tuple(
        (label, d.mean_s, d.median_s, d.p90_s, d.p95_s, d.p99_s)
        for label, d in (
            ("Time to first token", one.ttft),
            ("Time per output token", one.tpot),
            ("Between tokens", one.itl),
            ("Whole request", one.e2e),
        )
        if plan.generates or label == "Whole request"
    )
    return Table("Percentiles at the busiest time", columns, rows)


def _curve(plan: ServingPlan) -> Lines:
    what = "token" if plan.generates else "result"
    return Lines(
        f"{what.capitalize()}s a second and device against those of a user",
        Axis(f"A user's {what}s", "number", f"{what}/s"),
        Axis(f"A device's {what}s", "number", f"{what}/s"),
        tuple(
            Series(one.label, tuple((user, device) for _, user, device in one.replica.curve))
            for one in plan.candidates[:5]
        ),
        caption="As many users as a replica serves at once, prompts included.",
    )


def _day_intro(best: ServingCandidate) -> str:
    return (
        f"Between {min(best.day.replicas)} and {max(best.day.replicas)} replicas run, spare ones "
        f"included: {best.day.replica_hours:,.0f} replica-hours a day."
    )


def _day(best: ServingCandidate) -> Lines:
    return Lines(
        "Replicas by hour",
        Axis("Hour", "number"),
        Axis("Replicas", "number"),
        (
            Series(
                "replicas",
                tuple((float(hour), float(n)) for hour, n in enumerate(best.day.replicas)),
            ),
        ),
    )


def _money(best: ServingCandidate) -> Table:
    hour = best.usd_per_hour
    return Table(
        "Cost",
        (Column("Period"), Column("Cost", "usd")),
        (
            ("hour", hour),
            ("day", hour * 24),
            ("month", hour * _HOURS_PER_MONTH),
            ("year", hour * _HOURS_PER_MONTH * 12),
        ),
    )


def _provenance(plan: ServingPlan) -> Provenance:
    text = json.dumps(plan.scenario, sort_keys=True)
    return Provenance(
        tool_version=version("costsim"), input_hash=hashlib.sha256(text.encode()).hexdigest()[:12]
    )
