"""What is paid for, line by line, of every kind of plan."""

from __future__ import annotations

from typing import Any

from costsim.costs.budget import Line
from costsim.planning.plans import Plan
from costsim.reporting.model import Section, Tree, TreeLine


def budget_section(plan: Plan[Any, Any]) -> Section | None:
    """Return the budget of the best candidate."""
    of_price = plan.price.price.source
    tree = Tree("Where the money goes", _line(plan.budget.total, of_price))
    return Section("Budget", "What is paid for, line by line.", (tree,))


def _line(entry: Line, of_price: str) -> TreeLine:
    """Return a line as it is shown; what nobody stated is not priced, rather than free."""
    children = tuple(_line(child, of_price) for child in entry.children)
    return TreeLine(
        entry.name,
        None if children or entry.unstated else entry.usd,
        entry.quantity,
        entry.unit,
        f"not stated: `{entry.unstated}`" if entry.unstated else entry.note,
        ("price",) if entry.source == of_price and not children else (),
        children,
    )
