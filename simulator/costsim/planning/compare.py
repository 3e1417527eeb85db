"""Comparing options of compression: what is dominated, what each step brings, when making pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costsim.units import format_bytes, format_duration, format_usd

if TYPE_CHECKING:
    from costsim.planning.plans import Candidate
    from costsim.planning.workload import Workload

MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Contribution:
    """A step of the waterfall: what the total is after it, and what it changed."""

    step: str
    total_usd: float
    change_usd: float


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From how many units on an option pays for its making, against no compression.

    `units` is None where it never does; `days` is at the scenario's traffic, where it has one.
    """

    option: str
    making_usd: float
    saved_usd_per_mtok: float
    units: float | None
    days: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Options beside each other.

    Attributes:
        ways: the best candidate of each option and place, cheapest first.
        baseline: the cheapest without compression.
        runner_up: the cheapest of another option than the best.
        cheapest: of all, whatever quality it loses.
        dominated_by: labels of those that another beats, and by which.
        usd_per_million: running alone, by label.
        latency_s: what candidates are compared by besides cost, by label.
        waterfall: from no compression to the best.
        cheapest_waterfall: from no compression to the cheapest.
        break_even: of each against no compression.
        reasons: why the best is the best, in words.
    """

    ways: tuple[Candidate[Any], ...]
    baseline: Candidate[Any] | None
    runner_up: Candidate[Any] | None
    cheapest: Candidate[Any]
    dominated_by: dict[str, str]
    usd_per_million: dict[str, float]
    latency_s: dict[str, float]
    waterfall: tuple[Contribution, ...]
    cheapest_waterfall: tuple[Contribution, ...]
    break_even: tuple[BreakEven, ...]
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values; candidates by their labels."""
        return {
            "baseline": self.baseline and self.baseline.label,
            "runner_up": self.runner_up and self.runner_up.label,
            "cheapest": self.cheapest.label,
            "dominated_by": self.dominated_by,
            "usd_per_million_units": self.usd_per_million,
            "waterfall": [_plain(step) for step in self.waterfall],
            "cheapest_waterfall": [_plain(step) for step in self.cheapest_waterfall],
            "break_even": [_plain(one) for one in self.break_even],
            "reasons": list(self.reasons),
        }


def _plain(record: Contribution | BreakEven) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


Evaluate = Callable[["Candidate[Any]", int], "Candidate[Any] | None"]
"""Returns the candidate at a place with the first so many recipes of its option."""


def compare(
    ways: Sequence[Candidate[Any]],
    best: Candidate[Any],
    workload: Workload,
    evaluate: Evaluate,
) -> Comparison:
    """Compare the best candidates of each option and place, cheapest first."""
    baseline = next((one for one in ways if one.option.plain), None)
    others = [one for one in ways if one.option.name != best.option.name]
    allowed = [one for one in others if one.option.loss.known or not best.option.loss.known]
    runner_up = next(iter(allowed or others), None)
    per_million = {
        one.label: one.value("running_usd") / workload.amount(one) * MILLION for one in ways
    }
    cheapest = ways[0]
    return Comparison(
        ways=tuple(ways),
        baseline=baseline,
        runner_up=runner_up,
        cheapest=cheapest,
        dominated_by=dominated(ways, workload),
        usd_per_million=per_million,
        latency_s={one.label: workload.latencies(one)[0] for one in ways},
        waterfall=_waterfall(best, baseline, workload.verb, evaluate),
        cheapest_waterfall=_waterfall(cheapest, baseline, workload.verb, evaluate),
        break_even=tuple(_break_even(one, baseline, per_million, workload) for one in ways)
        if baseline
        else (),
        reasons=_reasons(best, runner_up, baseline, workload),
    )


def dominated(ways: Sequence[Candidate[Any]], workload: Workload) -> dict[str, str]:
    """Return which candidates another beats, or equals, in cost, latency and known quality.

    What is unknown of an option's quality may be anything, so that it dominates nothing better
    known.
    """
    measures = {
        one.label: (one.value("cost_usd"), *workload.latencies(one), one.option.loss.worst)
        for one in ways
    }
    found: dict[str, str] = {}
    for mine, own in measures.items():
        for other, theirs in measures.items():
            if theirs != own and all(a <= b for a, b in zip(theirs, own, strict=True)):
                found[mine] = other
                break
    return found


def _waterfall(
    best: Candidate[Any], baseline: Candidate[Any] | None, verb: str, evaluate: Evaluate
) -> tuple[Contribution, ...]:
    """Return what other hardware, and each recipe after the other, bring."""
    if baseline is None:
        return ()
    total, making = baseline.value("cost_usd"), 0.0
    steps = [Contribution(f"none on {baseline.system.accelerator.name}", total, 0.0)]

    def add(step: str, after: float) -> None:
        nonlocal total
        steps.append(Contribution(step, after, after - total))
        total = after

    if best.system.accelerator.id != baseline.system.accelerator.id:
        moved = evaluate(best, 0)
        if moved is not None:
            add(f"on {best.system.accelerator.name} instead", moved.value("cost_usd"))
    names = best.option.compression.names
    for count, name in enumerate(names, start=1):
        found = best if count == len(names) else evaluate(best, count)
        if found is None:
            continue  # what does not fit by itself shows in the step that follows
        add(f"{name}: {verb}", making + found.value("running_usd"))
        if found.value("making_usd") != making:
            add(f"{name}: making", found.value("cost_usd"))
        making = found.value("making_usd")
    return tuple(steps)


def _break_even(
    one: Candidate[Any],
    baseline: Candidate[Any],
    per_million: dict[str, float],
    workload: Workload,
) -> BreakEven:
    saved = per_million[baseline.label] - per_million[one.label]
    making = one.value("making_usd")
    units = making / saved * MILLION if saved > 0 else None
    a_day = workload.amount(one) / one.value("days")
    return BreakEven(one.label, making, saved, units, None if units is None else units / a_day)


def _reasons(
    best: Candidate[Any],
    second: Candidate[Any] | None,
    baseline: Candidate[Any] | None,
    workload: Workload,
) -> tuple[str, ...]:
    found: list[str] = []
    if baseline is not None and baseline is not best:
        if best.devices != baseline.devices:
            found.append(f"{best.devices:,} devices instead of {baseline.devices:,}.")
        mine, theirs = workload.latencies(best)[0], workload.latencies(baseline)[0]
        found.append(
            f"Weights take {format_bytes(weights_bytes(best))} instead of "
            f"{format_bytes(weights_bytes(baseline))}; a {workload.unit} takes "
            f"{format_duration(mine)} instead of {format_duration(theirs)}."
        )
    if second is not None:
        more = second.value("cost_usd") - best.value("cost_usd")
        than = "more" if more >= 0 else "less, and loses more quality, or what nobody published"
        found.append(
            f"The next option, {second.label}, costs {format_usd(abs(more))} {than} "
            f"({second.devices:,} devices; quality: {second.option.loss.text})."
        )
    if not best.option.loss.known:
        found.append("Its effect on quality is unknown: nothing published is on record.")
    return tuple(found)


def weights_bytes(candidate: Candidate[Any]) -> float:
    """Return bytes of the weights of the model that a candidate runs, once."""
    blocks = candidate.option.model.blocks()
    return sum(float(b.count) * float(w.stored_bytes(2)) for b in blocks for w in b.weights())
