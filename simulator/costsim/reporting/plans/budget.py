"""What is paid for, line by line, of every kind of plan."""

from __future__ import annotations

from typing import Any

from costsim.costs.budget import Line
from costsim.planning.plans import Plan
from costsim.reporting.model import Section, Tree, TreeLine


def budget_section(plan: Plan[Any, Any]) -> Section | None:
    """Return the budget of the best candidate."""
    tree = Tree("Where the money goes", _line(plan.budget.total))
    return Section("Budget", "What is paid for, line by line.", (tree,))


def _line(entry: Line) -> TreeLine:
    children = tuple(_line(child) for child in entry.children)
    return TreeLine(
        entry.name,
        None if children else entry.usd,
        entry.quantity,
        entry.unit,
        entry.note,
        ("price",) if entry.source and not children else (),
        children,
    )
