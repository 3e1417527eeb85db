"""The report of a plan: sections chosen by what the plan holds, whatever its workload.

A new section is a function of a plan that returns it, or None where it does not apply, and a line
in `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from costsim.planning.plans import Plan
from costsim.remarks import kind_of
from costsim.reporting.model import Note, Provenance, Report, Section, Source
from costsim.reporting.plans import accounts, options, serving, training
from costsim.reporting.plans.answer import answer, subtitle
from costsim.reporting.plans.budget import budget_section, uncertainty_section
from costsim.reporting.plans.emissions import emissions
from costsim.reporting.plans.what_if import what_if

SECTIONS: tuple[Callable[[Plan[Any, Any]], Section | None], ...] = (
    options.compared,
    options.contributions,
    options.break_even,
    serving.compared,
    serving.mixed,
    serving.prices,
    budget_section,
    uncertainty_section,
    emissions,
    accounts.cash_flow,
    accounts.cost_centers,
    accounts.in_currency,
    training.time,
    training.memory,
    training.alternatives,
    training.traffic,
    serving.load,
    serving.speed,
    serving.day,
    serving.disaggregated,
    serving.deployment,
    options.cost_and_latency,
    options.quality,
    options.refused,
)
"""What a report may say, in order; what does not apply to a plan is left out."""


def plan_report(plan: Plan[Any, Any]) -> Report:
    """Return the report of `plan`."""
    made = plan.provenance
    found = (section(plan) for section in SECTIONS)
    return Report(
        title=plan.name,
        subtitle=subtitle(plan),
        answer=answer(plan),
        sections=tuple(section for section in found if section is not None),
        provenance=Provenance(made["tool_version"], made["catalog_date"], made["input_hash"]),
        notes=tuple(Note(kind_of(text), text) for text in plan.notes),
        sources=tuple(Source(key, text) for key, text in plan.sources.items()),
        what_if=what_if(plan),
    )
