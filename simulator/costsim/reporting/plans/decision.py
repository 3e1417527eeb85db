"""What a person who signs asks first: is it within its limits, and what may go wrong."""

from __future__ import annotations

from typing import Any

from costsim.planning.figures import said
from costsim.planning.plans import Plan
from costsim.remarks import kind_of
from costsim.units import format_bytes, format_duration, format_usd

_DAY_S = 86_400
_MOST = 3


def verdict(plan: Plan[Any, Any]) -> str:
    """Say whether the best keeps each stated limit, and how likely; nothing where there is none."""
    limits, figures = plan.scenario.get("limits", {}), plan.best.figures
    asked = (
        ("cost_usd", limits.get("cost"), "budget of", format_usd, 1.0),
        ("days", limits.get("deadline"), "deadline of", format_duration, _DAY_S),
    )
    found: list[str] = []
    for name, limit, words, format_limit, scale in asked:
        figure = figures.get(name)
        if limit is None or figure is None:
            continue
        kept = figure.value * scale <= limit
        likely = figure.probability_at_most(limit / scale)
        chance = "" if likely is None else f" (kept in {likely:.0%} of cases like this)"
        found.append(f"{'within' if kept else 'over'} the {words} {format_limit(limit)}{chance}")
    if not found:
        return ""
    text = ", ".join(found)
    return f"{text[0].upper()}{text[1:]}."


def risks(plan: Plan[Any, Any]) -> tuple[str, ...]:
    """Return at most three things that may go wrong, the dearest first."""
    figures, found = plan.best.figures, list[str]()
    monthly = "usd_per_month" in figures and plan.kind != "job"
    cost = figures["usd_per_month" if monthly else "cost_usd"]
    if cost.high is not None and cost.high > cost.value:
        dearest = max(cost.movers, key=lambda one: one.swing, default=None)
        why = f", moved most by {dearest.name}" if dearest else ""
        most = f"{said(cost.high, 'usd')}{' a month' if monthly else ''}"
        found.append(f"It may cost up to {most}, {cost.high / cost.value - 1:.0%} more{why}.")
    memory = figures.get("memory_bytes_per_device")
    capacity = plan.system.accelerator.memory_usable_bytes
    if memory is not None and memory.high is not None and memory.high > capacity:
        found.append(
            f"It may not fit: the fullest device is estimated at {format_bytes(memory.value)} and "
            f"may need {format_bytes(memory.high)} of its {format_bytes(capacity)}."
        )
    days, first = figures.get("days"), figures.get("ttft_median_s")
    if days is not None and days.high is not None and days.high > days.value:
        found.append(f"It may take up to {said(days.high, 'days')}.")
    if first is not None and first.high is not None:
        found.append(f"The median time to first token may reach {said(first.high, 's')}.")
    found += [
        f"{text[0].upper()}{text[1:].rstrip('.')}."
        for text in plan.notes
        if kind_of(text) == "warning"
    ]
    return tuple(found[:_MOST])
