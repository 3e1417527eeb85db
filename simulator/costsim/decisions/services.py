"""Backwards questions about services and jobs: the load that money and devices carry.

Each trial is a whole plan, the simulation included. Money and devices never fall with more load,
but for what is rented whole, so that the answer is found by halving, to half a percent.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from costsim.decisions.asking import Asked, Solution
from costsim.errors import InfeasiblePlanError, OverBudgetError, SpecError
from costsim.planning import Plan

_LOG = logging.getLogger(__name__)
_CLOSE = 1.005  # ratio of the ends between which the answer lies
_STRIDE = 1.05  # of the first step away from a guess; squared at each further one
_FURTHEST = 1000.0  # times a first guess, beyond which nothing is looked for


@dataclass(frozen=True, slots=True)
class _Amount:
    """A key of a scenario that may be asked for, its unit, and whether more of it is better."""

    key: str
    unit: str
    more: bool = True

    def setting(self, value: float) -> str:
        """Return the setting that states it."""
        if self.unit == "s":
            return f"workload.{self.key}={value:.6g} s"
        return f"workload.{self.key}={value:.6g}"


_AMOUNTS = {
    ("inference", "load"): _Amount("requests_per_s", "requests/s"),
    ("forward", "load"): _Amount("requests_per_s", "requests/s"),
    ("job", "load"): _Amount("requests", "requests"),
    ("job", "deadline"): _Amount("within", "s", more=False),
}


def solve_service(asked: Asked, kind: str, unknown: str) -> Solution:
    """Answer a backwards question about a service or a job.

    Args:
        asked: the scenario and its settings.
        kind: of workload: inference, forward or job.
        unknown: `load` that limits and available devices carry; `deadline` of a job; fewest
            `devices`; least `budget`.

    Raises:
        SpecError: where the question has no meaning for the kind, or nothing limits the answer.
        InfeasiblePlanError: where not even a sliver is within the limits.
    """
    if unknown in ("devices", "budget"):
        return _least(asked, unknown)
    amount = _AMOUNTS.get((kind, unknown))
    if amount is None:
        known = [name for of, name in _AMOUNTS if of == kind]
        raise SpecError(
            f"`{unknown}` cannot be solved for in a workload of kind `{kind}`",
            hint=f"one of {', '.join((*known, 'devices', 'budget'))}",
        )
    return _most(asked, unknown, amount)


def _least(asked: Asked, unknown: str) -> Solution:
    """Return the plan with fewest devices, or of least money with the budget set aside."""
    settings = ("objective=devices",) if unknown == "devices" else ("limits.cost=null",)
    planned = asked.plan(*settings)
    if unknown == "devices":
        planned.check_limits()
        return Solution(unknown, float(planned.best.devices), "", settings, planned, 1)
    cost = math.ceil(planned.best.value("cost_usd") * 100) / 100
    return Solution(unknown, cost, "usd", settings, planned, 1)


def _most(asked: Asked, unknown: str, amount: _Amount) -> Solution:
    """Return the most load, or the shortest time, that limits and devices allow."""
    known: dict[float, Plan[Any, Any] | str] = {}
    scenario: Any = asked.studied()[1].scenario
    stated = float(getattr(scenario.workload, amount.key))

    def kept(value: float) -> bool:
        if value not in known:
            known[value] = _tried(asked, amount.setting(value))
        return not isinstance(known[value], str)

    if scenario.limits.cost is None and not scenario.hardware.available:
        raise SpecError(
            f"nothing limits `{unknown}`",
            hint="state `limits: {cost: 2 M$}` or `hardware: {available: {SYSTEM: 64}}`",
        )
    start = _guess(asked, scenario, stated) if amount.more else stated
    good, bad = _bracket(kept, known.__getitem__, start, up=amount.more)
    while max(good / bad, bad / good) > _CLOSE:
        middle = math.sqrt(good * bad)
        good, bad = (middle, bad) if kept(middle) else (good, middle)
    best = known[good]
    assert not isinstance(best, str)
    return Solution(
        unknown,
        good,
        amount.unit,
        (amount.setting(good),),
        best,
        len(known),
        (f"at {amount.key} {bad:.6g}: {known[bad]}", "found to half a percent"),
    )


def _guess(asked: Asked, scenario: Any, stated: float) -> float:
    """Return the load that the budget carries at the dollars per request of the stated one."""
    limit = scenario.limits.cost
    if limit is None:
        return stated
    try:
        return stated * limit / asked.plan("limits.cost=null").best.value("cost_usd")
    except InfeasiblePlanError:
        return stated


def _bracket(
    kept: Callable[[float], bool], why: Callable[[float], object], start: float, *, up: bool
) -> tuple[float, float]:
    """Return a value that is kept and one, in the direction that is asked for, that is not.

    Raises:
        InfeasiblePlanError: where none is kept.
        SpecError: where all are.
    """
    stride = _STRIDE if up else 1 / _STRIDE
    asked_for, other = start, start
    towards = kept(start)
    while kept(other := asked_for * (stride if towards else 1 / stride)) == towards:
        asked_for, stride = other, stride**2
        if not 1 / _FURTHEST < other / start < _FURTHEST:
            if towards:
                raise SpecError("the limits never bind", hint="state a lower budget")
            raise InfeasiblePlanError(f"not even {other:.3g} is within the limits: {why(other)}")
    return (asked_for, other) if towards else (other, asked_for)


def _tried(asked: Asked, setting: str) -> Plan[Any, Any] | str:
    """Return the plan with a setting, or why it is not within limits."""
    _LOG.info("planning with %s", setting)
    try:
        planned = asked.plan(setting)
        planned.check_limits()
    except (InfeasiblePlanError, OverBudgetError) as error:
        return next((problem.message for problem in error.problems), "no reason is known")
    return planned
