"""Backwards questions: what a budget or a deadline buys, and the least of each that will do.

At every number of devices the fastest strategy is also the cheapest, so that the answer is the best
of a list that is gone through whole; only amounts of training are found by bisection, which is
exact because money and time never fall with more steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from costsim.decisions.asking import Asked, Solution
from costsim.errors import InfeasiblePlanError, Problem, SpecError, suggestion
from costsim.planning.plans import Candidate
from costsim.planning.scenario import Limits, Unknown
from costsim.planning.study import Source
from costsim.planning.workloads.training.spec import Training
from costsim.planning.workloads.training.ways import Way, device_counts, ways_of
from costsim.planning.workloads.training.workload import TrainingWorkload
from costsim.units import format_duration, format_usd

_DAY_S = 86_400
UNKNOWNS: tuple[str, ...] = get_args(Unknown)
"""What can be asked for."""


def solve(
    source: Source,
    unknown: str | None = None,
    settings: Sequence[str] = (),
    calibration: str | Path | None = None,
    *,
    law: str | None = None,
    loss: float | None = None,
    unique_tokens: float | None = None,
    served_tokens: float = 0.0,
    allow_outside: bool = False,
) -> Solution:
    """Answer a backwards question about a scenario and its limits.

    Args:
        source: as of `plan`.
        unknown: `tokens` that budget and deadline buy; fewest `devices` that keep to both; the
            earliest `deadline` within the budget; the least `budget` within the deadline;
            `parameters`: the size of model with the least loss that both buy; `load`: the requests
            a second of a service, or the requests of a job, that budget and devices carry. Left
            out, the scenario's `solve_for`.
        settings: overrides such as `limits.cost=2 M$`.
        calibration: overlay file of `costsim calibrate` to apply.
        law: scaling law of `parameters`, or of a `budget` for a loss.
        loss: to reach, with `budget`: the size and tokens of the model are then chosen too.
        unique_tokens: of the data, where training repeats it.
        served_tokens: that the model will generate in its life, which favours smaller ones.
        allow_outside: whether a scenario file may name files outside its own folder.

    Raises:
        SpecError: where the question has no meaning for the scenario.
        InfeasiblePlanError: where no plan keeps to the limits; names those that bind and what
            comes nearest.
    """
    asked = Asked(source, tuple(settings), calibration, allow_outside)
    kind, study, workload = asked.studied()
    unknown = unknown or study.scenario.solve_for
    if unknown is None:
        hint = f"`--for WHAT`, or `solve_for: WHAT` in the scenario: {', '.join(UNKNOWNS)}"
        raise SpecError("nothing is asked for", hint=hint)
    if unknown not in UNKNOWNS:
        raise SpecError(f"cannot solve for `{unknown}`", hint=suggestion(unknown, UNKNOWNS))
    laws = law is not None or unique_tokens is not None or bool(served_tokens)
    if not isinstance(workload, TrainingWorkload):
        if laws or loss is not None:
            raise SpecError("scaling laws and losses are of training, not of a service")
        from costsim.decisions.services import solve_service

        return solve_service(asked, kind, unknown)
    if unknown == "load":
        raise SpecError("`load` is of services and jobs", hint="`tokens` is what training asks for")
    if unknown == "parameters" or loss is not None:
        from costsim.decisions.sizes import best_size

        if loss is not None and unknown != "budget":
            raise SpecError(
                f"a loss to reach says nothing of `{unknown}`",
                hint="`--for budget --loss L` is the cheapest way to it",
            )
        return best_size(asked, law, loss, unique_tokens, served_tokens)
    if laws:
        raise SpecError(
            f"scaling laws say nothing of `{unknown}`",
            hint="they belong to `--for parameters`, and to `--for budget --loss L`",
        )
    if unknown == "tokens":
        return _tokens(asked, workload)
    ways = list(ways_of(workload, device_counts(workload.study)))
    made = [(way, way.candidate()) for way in ways]
    return _least(asked, workload, unknown, made)


def within(candidate: Candidate[Any], limits: Limits) -> bool:
    """Return whether a candidate keeps to budget and deadline."""
    return not _over(candidate, limits)


def _over(candidate: Candidate[Any], limits: Limits) -> list[str]:
    over: list[str] = []
    if limits.cost is not None and candidate.value("cost_usd") > limits.cost:
        over.append("cost")
    if limits.deadline is not None and candidate.value("days") * _DAY_S > limits.deadline:
        over.append("deadline")
    return over


def largest(ok: Callable[[int], bool], guess: int) -> int:
    """Return the largest whole number >= 0 that is `ok`, 0 being taken to be.

    `ok` must hold for all numbers below one for which it does. Gallops from the guess, then halves.
    """
    low, high = 0, max(guess, 1)
    while ok(high):
        low, high = high, high * 2
        if high > 2**62:
            return low
    step = 1
    while high - step > low and not ok(high - step):
        high -= step
        step *= 2
    low = max(low, high - step)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if ok(middle) else (low, middle)
    return low


def most_steps(way: Way, limits: Limits) -> int:
    """Return the most optimizer steps of a way within budget and deadline."""
    one, many = way.candidate(1), way.candidate(1_000_001)
    guesses: list[float] = []
    for limit, name in ((limits.cost, "cost_usd"), (limits.deadline, "days")):
        if limit is not None:
            per_unit = _DAY_S if name == "days" else 1
            slope = (many.value(name) - one.value(name)) * per_unit / 1_000_000
            guesses.append((limit - one.value(name) * per_unit) / slope + 1)
    return largest(lambda n: within(way.candidate(n), limits), max(int(min(guesses)), 1))


def stated_counts(workload: TrainingWorkload) -> tuple[int, ...]:
    """Return the numbers of devices that the scenario states, or those it may choose from."""
    devices = workload.scenario.hardware.devices
    return devices if isinstance(devices, tuple) else device_counts(workload.study)


def amount_settings(workload: TrainingWorkload, steps: int) -> tuple[str, ...]:
    """Return the settings that say how much is trained in so many steps."""
    work = workload.scenario.workload
    amount = steps * work.counted_per_step
    written = int(amount) if amount == int(amount) else repr(amount)
    if isinstance(work, Training):
        return (f"workload.tokens={written}",)
    cleared = [f"workload.{k}=null" for k in ("epochs", "dataset_samples")]
    return (f"workload.samples={written}", *cleared)


def need_a_limit(workload: TrainingWorkload) -> Limits:
    """Return the limits of a scenario.

    Raises:
        SpecError: where it states neither budget nor deadline.
    """
    limits = workload.scenario.limits
    if limits.cost is None and limits.deadline is None:
        raise SpecError(
            "nothing limits how much is trained",
            hint="state `limits: {cost: 2 M$}` or `limits: {deadline: 30 days}`",
        )
    return limits


def _tokens(asked: Asked, workload: TrainingWorkload) -> Solution:
    """Return the most tokens or samples, in whole steps, that budget and deadline buy."""
    limits = need_a_limit(workload)
    ways = list(ways_of(workload, stated_counts(workload)))
    if not ways:
        asked.plan()  # says why nothing fits
    found = [(most_steps(way, limits), -way.devices, index) for index, way in enumerate(ways)]
    steps, _, index = max(found, key=lambda one: (one[0], one[1], -one[2]), default=(0, 0, 0))
    if steps == 0:
        raise _impossible([(way, way.candidate(1)) for way in ways], limits, "one step")
    way = ways[index]
    settings = (*way.settings, *amount_settings(workload, steps))
    amount = steps * workload.scenario.workload.counted_per_step
    more = way.candidate(steps + 1)
    binds = " and ".join(_over(more, limits))
    counted = workload.scenario.workload.counts
    return Solution(
        "tokens",
        amount,
        counted,
        settings,
        asked.plan(*settings),
        len(ways),
        (f"{steps:,} steps; the {binds} binds: one more is over it",),
    )


def _least(
    asked: Asked,
    workload: TrainingWorkload,
    unknown: str,
    made: list[tuple[Way, Candidate[Any]]],
) -> Solution:
    """Return the way with the least of what is asked for, within the other limits."""
    scenario = workload.scenario
    own = {"deadline": "deadline", "budget": "cost"}.get(unknown)
    limits = scenario.limits if own is None else scenario.limits.model_copy(update={own: None})
    if not made:
        asked.plan()
    kept = [one for one in made if within(one[1], limits)]
    if not kept:
        raise _impossible(made, limits, "the run")

    def order(one: tuple[Way, Candidate[Any]]) -> tuple[float, ...]:
        candidate = one[1]
        cost, days, devices = candidate.value("cost_usd"), candidate.value("days"), one[0].devices
        return {
            "devices": (devices, cost, days),
            "deadline": (days, cost, devices),
            "budget": (cost, days, devices),
        }[unknown]

    way, best = min(kept, key=order)
    value, unit = {
        "devices": (float(way.devices), ""),
        "deadline": (best.value("days"), "days"),
        "budget": (math.ceil(best.value("cost_usd") * 100) / 100, "usd"),
    }[unknown]
    counts = device_counts(workload.study)
    grid = f"{len(made):,} ways on {counts[0]:,} to {counts[-1]:,} devices were costed"
    held = [f"{name} {_limit(limits, name)}" for name in ("cost", "deadline") if _has(limits, name)]
    notes = [grid + (f", within {' and '.join(held)}" if held else ", no limit is stated")]
    if own is not None and _has(scenario.limits, own):
        notes.append(f"the scenario's own {own} is what is asked for, and was set aside")
    settings = way.settings
    planned = asked.plan(*settings)
    return Solution(unknown, value, unit, settings, planned, len(made), tuple(notes))


def _has(limits: Limits, name: str) -> bool:
    return getattr(limits, name) is not None


def _limit(limits: Limits, name: str) -> str:
    value = getattr(limits, name)
    return format_usd(value) if name == "cost" else format_duration(value)


def _impossible(
    made: Sequence[tuple[Way, Candidate[Any]]], limits: Limits, what: str
) -> InfeasiblePlanError:
    """Say which limit binds, and what comes nearest to it."""
    if not made:
        return InfeasiblePlanError(f"{what}: no strategy fits")
    cheapest = min((one for _, one in made), key=lambda one: one.value("cost_usd"))
    fastest = min((one for _, one in made), key=lambda one: one.value("days"))
    problems: list[Problem] = []
    if "cost" in _over(cheapest, limits):
        problems.append(
            Problem(
                f"{what} costs at least {cheapest.figures['cost_usd']}, over "
                f"{_limit(limits, 'cost')}",
                hint=f"{cheapest.figures['cost_usd']} buys it on {cheapest.devices:,} devices "
                f"in {cheapest.figures['days']}",
            )
        )
    if "deadline" in _over(fastest, limits):
        problems.append(
            Problem(
                f"{what} takes at least {fastest.figures['days']}, over the deadline of "
                f"{_limit(limits, 'deadline')}",
                hint=f"{fastest.devices:,} devices take {fastest.figures['days']} for "
                f"{fastest.figures['cost_usd']}",
            )
        )
    if not problems:  # each can be kept, not both
        timely = [one for _, one in made if "deadline" not in _over(one, limits)]
        cheap = [one for _, one in made if "cost" not in _over(one, limits)]
        least = min(timely, key=lambda one: one.value("cost_usd"))
        first = min(cheap, key=lambda one: one.value("days"))
        problems.append(
            Problem(
                f"{_limit(limits, 'cost')} and {_limit(limits, 'deadline')} exclude each other: "
                f"in time it costs {least.figures['cost_usd']}, within the budget it takes "
                f"{first.figures['days']}",
                hint=f"a budget of {least.figures['cost_usd']} ({least.devices:,} devices), or a "
                f"deadline of {first.figures['days']} ({first.devices:,} devices)",
            )
        )
    return InfeasiblePlanError(problems)
