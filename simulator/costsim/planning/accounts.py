"""A budget as its payers keep it: by month of a calendar, and by cost center."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from costsim.costs.budget import CENTS_PER_USD, Budget
from costsim.costs.calendar import CashFlow, budget_payments, cash_flow
from costsim.errors import Problem, SpecError, suggestion
from costsim.planning.scenario import Scenario

UNASSIGNED = "not assigned"
"""The center of lines that a scenario gives to none."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """What each month and each cost center pays; empty where a scenario asks for neither."""

    months: CashFlow | None = None
    centers_cents: tuple[tuple[str, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what was asked for as plain values, in dollars."""
        found: dict[str, Any] = {}
        if self.months:
            found["cash_flow"] = self.months.to_dict()
        if self.centers_cents:
            found["cost_centers"] = [
                {"name": name, "usd": cents / CENTS_PER_USD} for name, cents in self.centers_cents
            ]
        return found


def accounts_of(scenario: Scenario, spent: Budget, days: float, devices: int) -> Accounts:
    """Return the accounts that a scenario asks for.

    Raises:
        SpecError: where a center is given a line that the budget has not, or that another has.
    """
    months = None
    if scenario.start is not None:
        months = cash_flow(budget_payments(spent, scenario.start, days, devices))
    return Accounts(months, _by_center(spent, scenario.cost_centers))


def _by_center(spent: Budget, centers: dict[str, tuple[str, ...]]) -> tuple[tuple[str, int], ...]:
    """Return cents by center; they sum to the budget."""
    if not centers:
        return ()
    left = {line.name: line.usd_cents for line in spent.lines}
    names, problems, found = list(left), list[Problem](), list[tuple[str, int]]()
    for center, lines in centers.items():
        cents = 0
        for line in lines:
            if line in left:
                cents += left.pop(line)
                continue
            why = "is given twice" if line in names else "is no line of the budget"
            key = f"`cost_centers.{center}`"
            problems.append(Problem(f"{key}: `{line}` {why}", hint=suggestion(line, names)))
        found.append((center, cents))
    if problems:
        raise SpecError(problems)
    rest = sum(left.values())
    return (*found, (UNASSIGNED, rest)) if rest else tuple(found)
