"""The same scenario on several systems, models and providers: who wins, and why the rest lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from costsim.errors import InfeasiblePlanError, OverBudgetError
from costsim.planning import Plan, plan
from costsim.planning.study import Source


@dataclass(frozen=True, slots=True)
class Compared:
    """One variant: its settings, its plan (None where nothing fits), and why it is not first."""

    name: str
    settings: tuple[str, ...]
    plan: Plan[Any, Any] | None
    over: bool
    reason: str


def compare(
    source: Source,
    hardware: Sequence[str] = (),
    models: Sequence[str] = (),
    providers: Sequence[str] = (),
) -> tuple[Compared, ...]:
    """Plan every combination by itself; within limits first, then cheapest.

    Raises:
        SpecError: where the scenario or a name is wrong.
    """
    axes = [
        [(name, f"hardware.system={name}") for name in hardware],
        [(name, f"model={name}") for name in models],
        [(name, f"price={{provider: {name}}}") for name in providers],
    ]
    found: list[Compared] = []
    for point in product(*(axis for axis in axes if axis)):
        name = ", ".join(label for label, _ in point) or "as stated"
        settings = tuple(setting for _, setting in point)
        try:
            planned = plan(source, settings)
        except InfeasiblePlanError as error:
            found.append(Compared(name, settings, None, True, error.problems[0].message))
            continue
        try:
            planned.check_limits()
            found.append(Compared(name, settings, planned, False, ""))
        except OverBudgetError as error:
            found.append(Compared(name, settings, planned, True, error.problems[0].message))
    found.sort(key=lambda one: (one.plan is None, one.over, _cost(one), one.name))
    least = _cost(found[0])
    return tuple(
        one
        if one.reason or one is found[0]
        else Compared(
            one.name, one.settings, one.plan, one.over, f"costs {_cost(one) / least - 1:+.1%}"
        )
        for one in found
    )


def _cost(one: Compared) -> float:
    return one.plan.budget.usd if one.plan else 0.0
