"""Answers for programs: plain mappings in and out, shared by the command line, the web and MCP."""

from __future__ import annotations

from costsim.answers.catalogues import Term, accelerators, hardware, models, prices
from costsim.answers.estimates import estimate, estimate_row
from costsim.answers.plans import check_scenario, explain_scenario, plan_scenario

__all__ = [
    "Term",
    "accelerators",
    "check_scenario",
    "estimate",
    "estimate_row",
    "explain_scenario",
    "hardware",
    "models",
    "plan_scenario",
    "prices",
]
