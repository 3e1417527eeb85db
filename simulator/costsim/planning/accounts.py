"""A budget as its payers keep it: by month of a calendar, and by cost center."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from costsim.costs.budget import CENTS_PER_USD, Budget
from costsim.costs.calendar import CashFlow, budget_payments, cash_flow
from costsim.currencies import Currency, currency
from costsim.errors import Problem, SpecError, suggestion
from costsim.planning.scenario import Scenario

UNASSIGNED = "not assigned"
"""The center of lines that a scenario gives to none."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """What each month and each cost center pays; empty where a scenario asks for neither.

    `converted_cents` are hundredths of `currency` by line of the budget; their sum is its total.
    """

    months: CashFlow | None = None
    centers_cents: tuple[tuple[str, int], ...] = ()
    currency: Currency | None = None
    converted_cents: tuple[tuple[str, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what was asked for as plain values, in dollars."""
        found: dict[str, Any] = {}
        if self.months:
            found["cash_flow"] = self.months.to_dict()
        if self.centers_cents:
            found["cost_centers"] = [
                {"name": name, "usd": cents / CENTS_PER_USD} for name, cents in self.centers_cents
            ]
        if self.currency:
            found["currency"] = {
                "code": self.currency.code,
                "usd": float(self.currency.usd),
                "as_of": self.currency.as_of,
                "source": self.currency.source,
                "lines": [{"name": n, "amount": c / 100} for n, c in self.converted_cents],
                "total": sum(cents for _, cents in self.converted_cents) / 100,
            }
        return found


def accounts_of(scenario: Scenario, spent: Budget, days: float, devices: int) -> Accounts:
    """Return the accounts that a scenario asks for.

    Raises:
        SpecError: where a center is given a line that the budget has not, or that another has.
    """
    months = None
    if scenario.start is not None:
        months = cash_flow(budget_payments(spent, scenario.start, days, devices))
    centers = _by_center(spent, scenario.cost_centers)
    if scenario.currency is None:
        return Accounts(months, centers)
    other = currency(scenario.currency)
    converted = tuple(
        (line.name, math.floor(other.of_usd(line.usd_cents) + 0.5))
        for line in spent.lines
        if not line.unstated
    )
    return Accounts(months, centers, other, converted)


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
