"""What a reader of the page may change: the closed terms of a plan's dollars, days and emissions.

The plan itself stays as it is chosen; what the terms move is recomputed in the page by
`reports/style/what_if.js`, line by line and with the roundings of `costsim.costs.budget`.
"""

from __future__ import annotations

import math
from typing import Any

from costsim.costs.budget import NOT_USED, Line, leaves
from costsim.planning.plans import Plan
from costsim.reporting.model import Setting, WhatIf

_DAY_S = 86_400
_HELD = "device-hours"
_PER_DAY = "GB-months"
_SHARE = "of the above"


def what_if(plan: Plan[Any, Any]) -> WhatIf | None:
    """Return what may be changed in the page of a plan; nothing where its terms are not known."""
    best, figures = plan.best, plan.best.figures
    hours = "device_hours" if "device_hours" in figures else "running_device_hours"
    needed = ("cost_usd", "days", hours, "energy_kwh", "co2e_t")
    if any(name not in figures for name in needed):
        return None
    terms = {t.name: t.value for name in ("energy_kwh", "co2e_t") for t in figures[name].terms}
    if not {"power", "pue", "grid"} <= set(terms):
        return None
    amount, per_step, name = _amount(plan)
    limits = plan.scenario.get("limits", {})
    deadline, price = limits.get("deadline"), plan.price.usd_per_device_hour
    months = plan.scenario.get("months") if plan.kind in ("inference", "forward") else None
    mfu = figures["mfu_ratio"].value if amount and "mfu_ratio" in figures else None
    model: dict[str, Any] = {
        "cost_usd": best.value("cost_usd"),
        "days": best.value("days"),
        "device_hours": best.value(hours),
        "power_w": terms["power"],
        "amount": amount,
        "per_step": per_step,
        "months": months,
        "mfu": mfu,
        "lines": [_line(leaf, price) for leaf in leaves(plan.budget.total)],
    }
    settings = [
        Setting("price", "Price of a device-hour, $", price, "price"),
        Setting("amount", name, amount, "workload") if amount else None,
        Setting("months", "Months of service", months, "months") if months else None,
        Setting("mfu", "MFU, % of the peak rate", 100 * mfu, "") if mfu else None,
        Setting("pue", "PUE of the building", float(terms["pue"]), "site.pue"),
        Setting("grid", "Grid, g CO2e a kWh", float(terms["grid"]), "site.grid"),
        Setting("deadline", "Deadline, days", deadline and deadline / _DAY_S, "limits.deadline")
        if amount
        else None,
        Setting("budget", "Budget, $", limits.get("cost"), "limits.cost"),
    ]
    return WhatIf(tuple(one for one in settings if one is not None), model)


def _amount(plan: Plan[Any, Any]) -> tuple[float | None, float | None, str]:
    """Return how much is trained, how much a step takes, and how it is called."""
    steps = getattr(plan.best.run, "steps", None)
    workload = plan.scenario["workload"]
    if steps is None:
        return None, None, ""
    if "tokens" in workload:
        amount, name = float(workload["tokens"]), "Tokens"
        each = float(workload["global_batch"]) * float(workload["sequence"])
    elif workload.get("samples"):
        amount, name = float(workload["samples"]), "Samples"
        each = float(workload["global_batch"])
    else:
        return None, None, ""
    rate = plan.best.figures.get("tokens_per_s") or plan.best.figures.get("samples_per_s")
    stated = [t.value for t in rate.terms if t.name.endswith("_per_step")] if rate else []
    each = float(stated[0]) if stated else each
    return (amount, each, name) if math.ceil(amount / each) == steps else (None, None, "")


def _line(line: Line, price: float) -> dict[str, Any]:
    """Return a leaf of the budget by what moves it: hours and their price, days, a share, nothing.

    Hours at another price than the plan's are those of making a model: they stay.
    """
    if line.quantity is not None and line.unit_price_usd is not None:
        kept = {"quantity": line.quantity, "usd": line.unit_price_usd}
        if line.name == NOT_USED:
            return {"by": "idle", **kept}
        if line.unit == _HELD and line.unit_price_usd == price:
            return {"by": "hours", **kept}
        if line.unit == _PER_DAY:
            return {"by": "days", **kept}
        if line.unit == _SHARE:
            return {"by": "above", **kept}
        return {"by": "fixed", "cents": math.floor(line.quantity * line.unit_price_usd * 100 + 0.5)}
    return {"by": "fixed", "cents": line.usd_cents}
