"""Sections of a service: devices compared, latency and load, the day, pools, how it is started."""

from __future__ import annotations

from typing import Any

from costsim.inference.memory import KvCache
from costsim.inference.metrics import Measured
from costsim.planning.plans import Candidate, Plan
from costsim.planning.workloads.serving.fleet import Fleet, ServiceDetails, busiest_requests_per_s
from costsim.reporting.model import (
    Axis,
    Cell,
    Column,
    Lines,
    Quantity,
    Section,
    Series,
    Table,
    Text,
)

ServicePlan = Plan[Fleet, ServiceDetails]


def _serves(plan: Plan[Any, Any]) -> bool:
    return isinstance(plan.details, ServiceDetails)


def compared(plan: Plan[Any, Any]) -> Section | None:
    """Return the cheapest fleet of each device and format."""
    if not _serves(plan):
        return None
    intro = (
        f"The cheapest fleet of each device and format that keeps the objectives, of "
        f"{plan.searched} kinds of replica."
    )
    return Section("Devices compared", intro, (_compared(plan),))


def prices(plan: Plan[Any, Any]) -> Section | None:
    """Return the price of a million tokens by each convention, named."""
    if not _serves(plan) or not plan.details.generates:
        return None
    best = plan.best
    stated = plan.scenario.get("price_ratio")
    ratio = f"an output at {stated:g} times an input" if stated else "an output at a stated ratio"
    rows: list[tuple[Cell, ...]] = [
        (name, *(best.value(key) if key in best.figures else None for key in keys))
        for name, keys in (
            ("inputs and outputs alike", ("usd_per_mtok", "usd_per_mtok")),
            ("by share of time", ("usd_per_mtok_input", "usd_per_mtok_output")),
            ("all cost on outputs", ("", "usd_per_mtok_all_on_output")),
            (ratio, ("usd_per_mtok_input_at_ratio", "usd_per_mtok_output_at_ratio")),
        )
    ]
    columns = (Column("Convention"), Column("Input", "usd"), Column("Output", "usd"))
    intro = (
        "The same dollars an hour, divided among tokens as others count: each line times its "
        "tokens is what the fleet costs."
        + ("" if stated else " State `price_ratio` for prices at a ratio, as public ones are.")
    )
    return Section("A million tokens", intro, (Table("Dollars a million", columns, tuple(rows)),))


def load(plan: Plan[Any, Any]) -> Section | None:
    """Return what the same fleet measures at other loads."""
    if not _serves(plan):
        return None
    intro = (
        "What the same replicas measure when fewer or more requests come, simulated request by "
        "request."
    )
    return Section("Latency and load", intro, (_loads(plan), _percentiles(plan)))


def speed(plan: Plan[Any, Any]) -> Section | None:
    """Return throughput against what a user sees."""
    if not _serves(plan):
        return None
    intro = "What one device yields, and what one user sees, as a replica takes on more users."
    return Section("Throughput against speed", intro, (_curve(plan),))


def day(plan: Plan[Any, Any]) -> Section | None:
    """Return the fleet over a day, and its cost by period."""
    if not _serves(plan):
        return None
    return Section("Over a day", _day_intro(plan.best), (_day(plan.best), _money(plan.best)))


def mixed(plan: Plan[Any, Any]) -> Section | None:
    """Show a fleet of several kinds beside the best of one, where it is the answer."""
    mix = plan.details.mix if _serves(plan) else None
    if mix is None:
        return None
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
        (
            "of one device",
            plan.best.value("usd_per_hour"),
            *_latencies(plan, plan.best.run.measured),
        ),
    )
    intro = (
        "Requests are shared in proportion to what each kind carries; each hour runs the part "
        "that carries its rate at least cost, even if as many of its largest replicas as are spare "
        "fail."
    )
    beside_one = Table("Mixed and of one device", fleets, beside, chosen=0)
    return Section("Mixed fleet", intro, (Table("Kinds", kinds, rows), beside_one))


def disaggregated(plan: Plan[Any, Any]) -> Section | None:
    """Compare with prompts and generation in pools of their own, where tokens are generated."""
    if not _serves(plan) or not plan.details.generates:
        return None
    best, pools = plan.best, plan.details.pools
    if pools is None:
        text = "No split of about as many replicas keeps the objectives."
        return Section("Disaggregated prefill and decode", text)
    columns = (
        Column("Pools"),
        Column("Replicas", "count"),
        *_latency_columns(plan),
        Column("ITL p99", "seconds"),
    )
    rows = (
        (
            "together",
            best.run.replicas,
            *_latencies(plan, best.run.measured),
            best.run.measured.itl.p99_s,
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
    return Section("Disaggregated prefill and decode", intro, (table,))


def deployment(plan: Plan[Any, Any]) -> Section | None:
    """Return the command that starts a replica."""
    launch = plan.best.run.launch if _serves(plan) else None
    if launch is None:
        return None
    intro = "One replica; put a load balancer before all of them."
    cache = plan.best.run.cache
    logged = () if cache is None else (*(Text(line) for line in cache.logged), _cache(plan, cache))
    return Section("Deployment", intro, (Text(launch.command, code=True), *logged))


def _cache(plan: ServicePlan, cache: KvCache) -> Table:
    """How far the cache reaches: one request as long as fits, and users of the mean length."""
    replica = plan.best.run.replica
    columns = (Column("Of the cache"), Column("", "count"))
    rows = (
        ("Longest context that fits, tokens", cache.longest_tokens),
        ("Users a device at the mean length", replica.slots / replica.layout.devices),
    )
    return Table("How far the cache reaches", columns, rows)


def _compared(plan: ServicePlan) -> Table:
    fleet = (
        Column("Device"),
        Column("Format"),
        Column("Replica"),
        Column("Replicas", "count"),
        Column("Devices", "count"),
        Column("An hour", "usd"),
    )
    priced = Column("Mtok, in and out" if plan.details.generates else "M requests", "usd")
    each = Column(
        "Tokens/s a device" if plan.details.generates else "Requests/s a device", "number"
    )
    several = len({one.option.name for one in plan.candidates}) > 1
    option = (Column("Option"),) if several else ()
    columns = (*option, *fleet, priced, *_latency_columns(plan), each)
    rows = tuple(
        (
            *((one.option.name,) if several else ()),
            one.run.replica.system.accelerator.name,
            one.run.replica.quantization.dense,
            str(one.run.replica.layout),
            one.run.replicas,
            one.devices,
            one.value("usd_per_hour"),
            one.value("usd_per_mtok")
            if plan.details.generates
            else one.value("usd_per_mtok_input"),
            *_latencies(plan, one.run.measured),
            one.run.measured.output_tokens_per_s
            / (one.run.replicas * one.run.replica.layout.devices),
        )
        for one in plan.candidates
    )
    chosen = plan.candidates.index(plan.best) if plan.details.mix is None else None
    return Table("Fleets", columns, rows, chosen=chosen)


def _latency_columns(plan: ServicePlan) -> tuple[Column, ...]:
    names = ("TTFT p99", "TPOT p99", "TTFT p50", "TPOT p50")
    if not plan.details.generates:
        names = ("Latency p99", "p50")
    return tuple(Column(name, "seconds") for name in names)


def _latencies(plan: ServicePlan, one: Measured) -> tuple[float, ...]:
    if not plan.details.generates:
        return one.e2e.p99_s, one.e2e.median_s
    return one.ttft.p99_s, one.tpot.p99_s, one.ttft.median_s, one.tpot.median_s


def _loads(plan: ServicePlan) -> Table:
    columns = (
        Column("Load", "ratio"),
        Column("Requests/s", "number"),
        Column("Within objectives", "ratio"),
        *_latency_columns(plan),
        Column("Utilization", "ratio"),
        Column("Preempted", "count"),
    )
    rate = busiest_requests_per_s(plan.scenario["workload"])
    rows = tuple(
        (
            load,
            rate * load,
            one.attainment_ratio,
            *_latencies(plan, one),
            one.busy_ratio,
            one.preemptions,
        )
        for load, one in plan.details.sensitivity
    )
    return Table(
        "Sensitivity to load",
        columns,
        rows,
        caption=f"Replicas: {plan.best.run.replicas}, without the spare ones.",
    )


def _percentiles(plan: ServicePlan) -> Table:
    one = plan.best.run.measured
    columns = (
        Column("Latency"),
        Column("Mean", "seconds"),
        Column("Median", "seconds"),
        Column("p90", "seconds"),
        Column("p95", "seconds"),
        Column("p99", "seconds"),
    )
    rows = tuple(
        (
            label,
            *(Quantity(s, "seconds") for s in (d.mean_s, d.median_s, d.p90_s, d.p95_s, d.p99_s)),
        )
        for label, d in (
            ("Time to first token", one.ttft),
            ("Time per output token", one.tpot),
            ("Between tokens", one.itl),
            ("Whole request", one.e2e),
        )
        if plan.details.generates or label == "Whole request"
    )
    return Table("Percentiles at the busiest time", columns, rows)


def _curve(plan: ServicePlan) -> Lines:
    what = "token" if plan.details.generates else "result"
    return Lines(
        f"{what.capitalize()}s a second and device against those of a user",
        Axis(f"A user's {what}s", "number", f"{what}/s"),
        Axis(f"A device's {what}s", "number", f"{what}/s"),
        tuple(
            Series(one.label, tuple((user, device) for _, user, device in one.run.replica.curve))
            for one in plan.candidates[:5]
        ),
        caption="As many users as a replica serves at once, prompts included.",
    )


def _day_intro(best: Candidate[Fleet]) -> str:
    fewest, most = min(best.run.day.replicas), max(best.run.day.replicas)
    hours = f"spare ones included: {best.run.day.replica_hours:,.0f} replica-hours a day."
    if fewest == most:
        return f"{'1 replica runs' if most == 1 else f'{most} replicas run'} at every hour, {hours}"
    return f"Between {fewest} and {most} replicas run, {hours}"


def _day(best: Candidate[Fleet]) -> Lines:
    return Lines(
        "Replicas by hour",
        Axis("Hour", "number"),
        Axis("Replicas", "number"),
        (
            Series(
                "replicas",
                tuple((float(hour), float(n)) for hour, n in enumerate(best.run.day.replicas)),
            ),
        ),
    )


def _money(best: Candidate[Fleet]) -> Table:
    periods = ("hour", "day", "month", "year")
    rows = tuple((period, best.value(f"usd_per_{period}")) for period in periods)
    return Table("Cost", (Column("Period"), Column("Cost", "usd")), rows)
