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

    def to_dict(self) -> dict[str, Any]:
        """Return the variant as plain values: its settings, its best candidate, why it loses."""
        return {
            "name": self.name,
            "settings": list(self.settings),
            "best": self.plan.best.to_dict() if self.plan else None,
            "over_limits": self.over,
            "reason": self.reason,
        }


def compare(
    source: Source,
    hardware: Sequence[str] = (),
    models: Sequence[str] = (),
    providers: Sequence[str] = (),
    settings: Sequence[str] = (),
) -> tuple[Compared, ...]:
    """Plan every combination by itself; within limits first, then cheapest.

    Args:
        source: the scenario, as `costsim.plan` takes it.
        hardware: systems to plan it on.
        models: models to plan it for.
        providers: to rent from; a region and term that the scenario states are kept.
        settings: overrides of every variant, such as `hardware.devices=512`.

    Raises:
        SpecError: where the scenario or a name is wrong.
    """
    axes = [
        [(name, f"hardware.system={name}") for name in hardware],
        [(name, f"model={name}") for name in models],
        [(name, f"price.provider={name}") for name in providers],
    ]
    found: list[Compared] = []
    for point in product(*(axis for axis in axes if axis)):
        name = ", ".join(label for label, _ in point) or "as stated"
        own = tuple(setting for _, setting in point)
        try:
            planned = plan(source, (*settings, *own))
        except InfeasiblePlanError as error:
            found.append(Compared(name, own, None, True, error.problems[0].message))
            continue
        try:
            planned.check_limits()
            found.append(Compared(name, own, planned, False, ""))
        except OverBudgetError as error:
            found.append(Compared(name, own, planned, True, error.problems[0].message))
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
