"""What each month and each cost center pays, where a scenario asks for it."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from costsim.costs.budget import CENTS_PER_USD
from costsim.planning.plans import Plan
from costsim.reporting.model import Column, Section, Table


def cash_flow(plan: Plan[Any, Any]) -> Section | None:
    """Return what is paid in each month, and up to it."""
    months = plan.accounts.months
    if months is None:
        return None
    cents = months.totals_cents
    rows = tuple(
        (month, paid / CENTS_PER_USD, so_far / CENTS_PER_USD)
        for month, paid, so_far in zip(months.months, cents, accumulate(cents), strict=True)
    )
    columns = (Column("Month"), Column("Paid", "usd", total=True), Column("Paid so far", "usd"))
    intro = "What the run uses is spread over it; experiments go before it, evaluation follows it."
    return Section("Cash flow", intro, (Table("Paid by month", columns, rows),))


def in_currency(plan: Plan[Any, Any]) -> Section | None:
    """Return the budget in the currency that a scenario asks for."""
    other = plan.accounts.currency
    if other is None:
        return None
    rows = tuple((name, cents / CENTS_PER_USD) for name, cents in plan.accounts.converted_cents)
    columns = (Column("Line"), Column(other.code, "number", total=True))
    return Section(f"Budget in {other.code}", f"At {other}.", (Table("Lines", columns, rows),))


def cost_centers(plan: Plan[Any, Any]) -> Section | None:
    """Return what each cost center pays."""
    centers = plan.accounts.centers_cents
    if not centers:
        return None
    rows = tuple((name, cents / CENTS_PER_USD) for name, cents in centers)
    columns = (Column("Cost center"), Column("Pays", "usd", total=True))
    return Section("Cost centers", "Who pays the lines.", (Table("Who pays", columns, rows),))
