"""What a plan leaves behind: emissions by both methods, of making the hardware, and water."""

from __future__ import annotations

from typing import Any

from costsim.costs.footprint import HOURS_OF_A_DAY, cleanest_ratio
from costsim.planning.plans import Plan
from costsim.reporting.model import Column, Section, Table

_LINES = (
    ("Electricity, location-based", "co2e_t", "site.grid"),
    ("Electricity, market-based", "market_co2e_t", "site.market"),
    ("Making of the hardware", "embodied_co2e_t", "site.embodied"),
    ("Water of cooling", "water_m3", "site.water"),
)
_SHIFTED_HOURS = (18, 12, 6)


def emissions(plan: Plan[Any, Any]) -> Section | None:
    """Return what is emitted and used, line by line; what is not known says how to state it."""
    figures = plan.best.figures
    if "co2e_t" not in figures:
        return None
    rows = tuple(
        (name, str(figures[key]), figures[key].interval, _basis(plan, key))
        if key in figures
        else (name, "not counted", "", f"nothing is published of it here: state `{stated}`")
        for name, key, stated in _LINES
    )
    columns = (Column("What"), Column("Amount"), Column("Range"), Column("Basis"))
    tables = [Table("Emissions and water", columns, rows)]
    profile = plan.scenario.get("site", {}).get("grid_profile")
    if profile:
        tables.append(_shifting([float(one) for one in profile]))
    return Section(
        "Emissions and water", "Lines are of different things: they do not add up.", tuple(tables)
    )


def _basis(plan: Plan[Any, Any], key: str) -> str:
    figure = plan.best.figures[key]
    return "; ".join(plan.sources.get(name, name) for name in figure.sources)


def _shifting(profile: list[float]) -> Table:
    """Return what running only in the cleanest hours of a day leaves of the emissions."""
    mean = sum(profile) / len(profile)
    rows = tuple(
        (
            f"the {hours} cleanest hours of a day",
            cleanest_ratio([one / mean for one in profile], hours),
            HOURS_OF_A_DAY / hours,
        )
        for hours in _SHIFTED_HOURS
    )
    columns = (
        Column("Run only in"),
        Column("Emissions left", "ratio"),
        Column("Wall time, times", "number"),
    )
    return Table("Shifting in time, by the stated hours of the grid", columns, rows)
