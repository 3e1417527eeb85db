"""What is paid for, line by line, of every kind of plan."""

from __future__ import annotations

from typing import Any

from costsim.costs.budget import Line
from costsim.planning.plans import Plan
from costsim.reporting.model import Reach, Section, Tornado, Tree, TreeLine


def budget_section(plan: Plan[Any, Any]) -> Section | None:
    """Return the budget of the best candidate."""
    of_price = plan.price.price.source
    tree = Tree("Where the money goes", _line(plan.budget.total, of_price))
    return Section("Budget", "What is paid for, line by line.", (tree,))


def uncertainty_section(plan: Plan[Any, Any]) -> Section | None:
    """Return what each uncertain input alone makes of the cost; nothing where fewer than two do."""
    cost = plan.best.figures["cost_usd"]
    if len(cost.movers) < 2:  # one alone is the interval itself
        return None
    reaches = tuple(
        Reach(one.name, one.low, one.high)
        for one in sorted(cost.movers, key=lambda one: -one.swing)
    )
    intro = (
        f"Each input at the ends of its own interval ({cost.level:.0%} of cases), all else as it "
        "is; together they make the interval of the answer."
    )
    return Section(
        "What the cost hangs on", intro, (Tornado("What moves the cost", cost.value, reaches),)
    )


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
