"""The answer of a report: one sentence, its figures, and the reasons, largest first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from costsim.architectures.pictures import native_image
from costsim.planning.plans import Candidate, Plan
from costsim.planning.strategies import describe
from costsim.planning.workloads.serving.fleet import Fleet, ServiceDetails, busiest_requests_per_s
from costsim.planning.workloads.serving.mix import Mix
from costsim.reporting.model import Answer, KeyFigure, Kind
from costsim.reporting.plans.charts import TIME_NAMES
from costsim.reporting.plans.decision import risks, verdict
from costsim.units import format_duration, format_usd

_DAY_S = 86_400
_GRAMS_PER_TONNE = 1e6
_WHOLE_FROM = 100.0  # samples a second from which fractions of one say nothing
_HOURS_PER_MONTH = 730.0
ServicePlan = Plan[Fleet, ServiceDetails]


def subtitle(plan: Plan[Any, Any]) -> str:
    """Return what is planned, in a line."""
    if isinstance(plan.details, ServiceDetails):
        return _service_subtitle(plan)
    return _training_subtitle(plan)


def answer(plan: Plan[Any, Any]) -> Answer:
    """Return the sentence that the report is for, its figures and reasons."""
    serves = isinstance(plan.details, ServiceDetails)
    found = _service_answer(plan) if serves else _training_answer(plan)
    stated = verdict(plan)
    found = replace(
        found,
        text=f"{found.text} {stated}".rstrip(),
        ranges=_ranges(plan.best),
        risks=risks(plan),
    )
    compared = plan.comparison
    if compared is None:
        return found
    best, where = plan.best, f"{plan.best.devices:,} x {plan.best.system.accelerator.name}"
    limited = plan.scenario["limits"].get("quality_loss") is not None
    chosen = "the cheapest within the limit of quality" if limited else "the cheapest"
    text = (
        f"{best.option.name} on {where} is {chosen}: {best.figures['cost_usd']}, of which "
        f"{best.figures['making_usd']} to make it."
    )
    if compared.baseline is not None and compared.baseline is not best:
        saved = compared.baseline.value("cost_usd") - best.value("cost_usd")
        more = "more" if saved >= 0 else "less"
        text += f" Without compression it is {format_usd(abs(saved))} {more}."
    total = key_figure(best, "Total", "cost_usd", "usd", cites=("price",))
    return Answer(
        f"{text} {found.text}",
        (total, *found.figures),
        (*compared.reasons, *found.reasons),
        found.ranges,
        found.risks,
    )


def _ranges(best: Candidate[Any]) -> str:
    """Say what the intervals of the figures hold; nothing where no figure has one."""
    levels = {one.level for one in best.figures.values() if one.low is not None}
    if len(levels) != 1:
        return ""
    return (
        f"Ranges are where {levels.pop():.0%} of cases like this are expected, from how far "
        "estimates of this kind lie off measured runs."
    )


def key_figure(
    best: Candidate[Any],
    label: str,
    name: str,
    kind: Kind,
    unit: str = "",
    *,
    scale: float = 1.0,
    cites: tuple[str, ...] = (),
    why: str = "",
) -> KeyFigure:
    """Return a figure of a candidate in large type, with its interval."""
    found = best.figures[name]
    low, high = (None if end is None else end * scale for end in (found.low, found.high))
    return KeyFigure(label, found.value * scale, kind, unit, low, high, why, cites)


def _training_subtitle(plan: Plan[Any, Any]) -> str:
    job = plan.best.run.job
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


def _amount(plan: Plan[Any, Any]) -> tuple[str, ...]:
    """Say how much is trained, in what the workload counts."""
    workload = plan.scenario["workload"]
    if plan.best.run.job.counts == "tokens":
        return (f"{workload['tokens'] / 1e9:,.0f} B tokens",)
    if "samples" in workload:
        return (f"{workload['samples'] / 1e6:,.4g} M samples",)
    return (f"{workload['epochs']:g} epochs of {workload['dataset_samples']:,.0f} samples",)


def _size(plan: Plan[Any, Any]) -> tuple[str, ...]:
    """Say how large a sample is: its pixels, its tokens, or both."""
    job, image = plan.best.run.job, native_image(plan.best.run.job.model)
    pixels = () if image is None else (f"image {' x '.join(f'{side:,}' for side in image)}",)
    if image is not None and not job.model.reads_tokens:
        return pixels
    stated = int(plan.scenario["workload"]["sequence"])
    computed = "" if job.sequence == stated else f" ({job.sequence:,} without padding)"
    return (*pixels, f"sequence {stated:,}{computed}")


def _training_answer(plan: Plan[Any, Any]) -> Answer:
    best = plan.best
    text = (
        f"Training takes {best.figures['days']} and costs {best.figures['cost_usd']} on "
        f"{best.devices:,} x {plan.system.accelerator.name}, with {describe(best.run.strategy)}."
    )
    return Answer(text, _training_figures(best), _training_reasons(plan))


def _training_figures(best: Candidate[Any]) -> tuple[KeyFigure, ...]:
    tokens, tonnes = best.run.job.counts == "tokens", best.value("co2e_t")
    rate = "tokens_per_s" if tokens else "samples_per_s"
    whole: Kind = "count" if best.value(rate) >= _WHOLE_FROM else "number"
    small = tonnes < 1 and not tokens
    mask = best.run.job.attention_flops
    return (
        key_figure(
            best, "Cost", "cost_usd", "usd", cites=("price",), why="all lines of the budget"
        ),
        key_figure(best, "Wall time", "days", "seconds", scale=_DAY_S, why="lost time included"),
        key_figure(best, "Device time", "device_hours", "count", "device-hours"),
        key_figure(best, "MFU", "mfu_ratio", "ratio", why=f"{mask} mask, without recomputation"),
        key_figure(best, "HFU", "hfu_ratio", "ratio", why="with recomputation"),
        key_figure(best, "Throughput", rate, "si", "token/s")
        if tokens
        else key_figure(best, "Throughput", rate, whole, "samples/s"),
        key_figure(best, "Energy", "energy_kwh", "si", "Wh", scale=1e3, cites=("power", "pue")),
        key_figure(
            best,
            "Emissions",
            "co2e_t",
            "si" if small else "number",
            "g CO2e" if small else "t CO2e",
            scale=_GRAMS_PER_TONNE if small else 1.0,
            cites=("grid",),
            why="location-based",
        ),
    )


def _training_reasons(plan: Plan[Any, Any]) -> tuple[str, ...]:
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
    total = sum(best.run.time_parts_s.values())
    ranked = sorted(best.run.time_parts_s.items(), key=lambda item: -item[1])
    name, seconds = ranked[0]
    reasons.append(
        f"{seconds / total:.0%} of a step is {TIME_NAMES.get(name, name)}: "
        f"{best.value('mfu_ratio'):.0%} of the peak rate serves the model."
    )
    said = ("matrix", "attention", "memory_bound", name)
    name, seconds = next((n, s) for n, s in ranked if n not in said)
    reasons.append(
        f"{str(TIME_NAMES.get(name, name)).capitalize()} adds {seconds / total:.0%}; interruptions "
        f"and checkpoints {1 - best.run.goodput.ratio:.1%} ({best.run.goodput.note})."
    )
    return tuple(reasons)


def _service_subtitle(plan: ServicePlan) -> str:
    workload = plan.scenario["workload"]
    asked = (
        f"{workload['requests']:,.0f} requests within {format_duration(workload['within'])}"
        if "within" in workload
        else f"{busiest_requests_per_s(workload):g} requests/s"
    )
    parts = [plan.best.option.compression.before.name, asked]
    if plan.details.generates:
        measured = plan.best.run.measured
        parts += [
            f"{measured.input_tokens / measured.completed:,.0f} tokens in",
            f"{measured.output_tokens / measured.completed:,.0f} out",
            plan.details.engine.name,
        ]
    else:
        parts.append(f"batches up to {workload['max_batch']}")
    return " · ".join(parts)


def _promises(plan: ServicePlan) -> str:
    bounds = (
        ("first token within", plan.details.objective.ttft_s),
        ("tokens every", plan.details.objective.tpot_s),
        (
            "last token within" if plan.details.generates else "results within",
            plan.details.objective.e2e_s,
        ),
    )
    kept = [f"{what} {format_duration(value)}" for what, value in bounds if value is not None]
    return ", ".join(kept)


def _hourly(best: Candidate[Fleet]) -> str:
    """Say the mean of a day, and what all devices cost while all of them run."""
    mean = best.value("usd_per_hour")
    if best.run.mean_devices > 0.995 * best.devices:
        return f"{format_usd(mean)} an hour"
    full = mean / best.run.mean_devices * best.devices
    return f"{format_usd(mean)} an hour on the mean of a day ({format_usd(full)} while all run)"


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count:,} replicas"


def _service_answer(plan: ServicePlan) -> Answer:
    best = plan.best
    promise = _promises(plan)
    held = (
        f" {best.run.measured.attainment_ratio:.1%} of requests keep {promise}." if promise else ""
    )
    spare = f" and {best.run.spare} spare" if best.run.spare else ""
    count = _replicas(best.run.replicas)
    fleet = f"{count}{spare} of {best.run.replica.label} ({best.devices} devices)"
    if plan.details.mix is not None:
        mix = plan.details.mix
        if promise:
            held = f" {mix.measured.attainment_ratio:.1%} of requests keep {promise}."
        text = (
            f"A mixed fleet serves it for {format_usd(mix.usd_per_hour)} an hour: {mix.label} "
            f"({mix.devices} devices, spare ones included).{held}"
        )
        return Answer(text, _mixed_figures(plan, mix), (_alone(plan),))
    if plan.kind == "job":
        text = (
            f"{fleet} do it within {best.figures['days']} for {best.figures['cost_usd']} "
            f"({_hourly(best)}).{held}"
        )
        return Answer(text, _job_figures(best), _service_reasons(plan))
    verb = "serves" if best.run.replicas + best.run.spare == 1 else "serve"
    text = f"{fleet} {verb} it for {_hourly(best)}.{held}"
    return Answer(text, _service_figures(plan), _service_reasons(plan))


def _mixed_figures(plan: ServicePlan, mix: Mix) -> tuple[KeyFigure, ...]:
    measured = mix.measured
    cost = KeyFigure("Cost", mix.usd_per_hour * _HOURS_PER_MONTH, "usd", "a month")
    if not plan.details.generates:
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


def _alone(plan: ServicePlan) -> str:
    """Say what a fleet of one device would be, of which the sections after the mix tell."""
    best = plan.best
    have = plan.scenario["hardware"].get("available", {})
    systems = plan.scenario["hardware"]["system"]
    return (
        f"Of one device alone, {best.devices} devices of {best.run.replica.label} would cost "
        f"{format_usd(best.value('usd_per_hour'))} an hour"
        + (
            f" ({', '.join(f'{have[one]} of {one}' for one in systems if one in have)} are "
            "available)"
            if have
            else ""
        )
        + "; the sections on latency, the day and deployment are of that fleet."
    )


def _job_figures(best: Candidate[Fleet]) -> tuple[KeyFigure, ...]:
    """Return what a job comes to: nobody waits for a token of it."""
    return (
        key_figure(best, "Cost", "cost_usd", "usd", cites=("price",), why="of the whole job"),
        key_figure(best, "Held for", "days", "seconds", scale=_DAY_S),
        key_figure(best, "Device time", "running_device_hours", "count", "device-hours"),
        key_figure(best, "Price of a token", "usd_per_mtok", "usd", "a million, in and out"),
        key_figure(best, "Price of input", "usd_per_mtok_input", "usd", "a million, by its time"),
        key_figure(best, "Price of output", "usd_per_mtok_output", "usd", "a million, by its time"),
        key_figure(best, "Energy", "energy_kwh", "si", "Wh", scale=1e3, cites=("power", "pue")),
        key_figure(
            best, "Emissions", "co2e_t", "si", "g CO2e", scale=_GRAMS_PER_TONNE, cites=("grid",)
        ),
    )


def _service_figures(plan: ServicePlan) -> tuple[KeyFigure, ...]:
    best = plan.best
    cost = key_figure(best, "Cost", "usd_per_month", "usd", "a month", cites=("price",))
    each = "a generated token" if plan.details.generates else "a request"
    energy = key_figure(best, "Energy", "joules_per_output_token", "si", "J", why=each)
    if not plan.details.generates:
        return (
            cost,
            key_figure(best, "Price", "usd_per_mtok_input", "usd", "a million requests"),
            key_figure(best, "Latency, median", "latency_median_s", "seconds"),
            key_figure(best, "Latency, 99th", "latency_p99_s", "seconds"),
            energy,
        )
    return (
        cost,
        key_figure(best, "Price of a token", "usd_per_mtok", "usd", "a million, in and out"),
        key_figure(best, "Price of input", "usd_per_mtok_input", "usd", "a million, by its time"),
        key_figure(best, "Price of output", "usd_per_mtok_output", "usd", "a million, by its time"),
        key_figure(best, "TTFT, median", "ttft_median_s", "seconds"),
        key_figure(best, "TTFT, 99th", "ttft_p99_s", "seconds"),
        key_figure(best, "TPOT, median", "tpot_median_s", "seconds"),
        key_figure(best, "TPOT, 99th", "tpot_p99_s", "seconds"),
        energy,
    )


def _service_reasons(plan: ServicePlan) -> tuple[str, ...]:
    best = plan.best
    paid = best.value("usd_per_hour") / best.price.usd_per_device_hour
    unused = paid > best.run.mean_devices * 1.005
    whole = f" and {paid:.1f} are paid, as instances are rented whole" if unused else ""
    found = [
        f"{best.run.mean_devices:.1f} devices run on the mean of a day{whole}, at "
        f"${best.price.usd_per_device_hour:.2f} an hour each.",
        f"A replica has room for {best.run.replica.slots:,.0f} requests and is at work "
        f"{best.run.measured.busy_ratio:.0%} of the busiest time.",
    ]
    others = [c for c in plan.candidates if c.run.replica.system.id != best.run.replica.system.id]
    if others:
        next_best = others[0]
        more = next_best.value("usd_per_hour") / best.value("usd_per_hour") - 1.0
        found.append(f"The next best device, {next_best.label}, costs {more:.0%} more.")
    return tuple(found)
