"""Plans of scenarios that someone sends: self-contained mappings, answered with plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costsim.answers.guard import check_self_contained
from costsim.errors import OverBudgetError


def plan_scenario(scenario: Mapping[str, Any], *, report: bool = False) -> dict[str, Any]:
    """Return the plan of a scenario as `costsim plan --format json` prints it.

    Args:
        scenario: self-contained: it names no file.
        report: whether the HTML report is wanted too.

    Returns:
        `plan`; `over_limits`, each stated limit that the best exceeds; and `report` where asked.

    Raises:
        CostsimError: where the scenario must change or nothing fits.
    """
    from costsim.planning import plan

    check_self_contained(scenario)
    found = plan(scenario)
    try:
        found.check_limits()
        over: list[str] = []
    except OverBudgetError as error:
        over = [problem.message for problem in error.problems]
    answer: dict[str, Any] = {"plan": found.to_dict(), "over_limits": over}
    if report:
        from costsim.reporting import render
        from costsim.reporting.plans import plan_report

        answer["report"] = render(plan_report(found), "html")
    return answer


def explain_scenario(scenario: Mapping[str, Any], quantity: str | None = None) -> dict[str, Any]:
    """Return figures of the best plan with formula, numbers, terms and sources.

    Raises:
        CostsimError: where the scenario must change, nothing fits, or no figure has the name.
    """
    from costsim.planning import plan

    check_self_contained(scenario)
    found = plan(scenario)
    names = [quantity] if quantity else list(found.best.figures)
    entries: list[dict[str, Any]] = []
    for name in names:
        figure = found.explain(name)
        cited = list(found.cited(figure))
        entries.append({"quantity": name, **figure.to_dict(), "sources": cited})
    return {"plan": found.name, "quantities": entries}


def check_scenario(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """Return the kind of a scenario whose every key and name is right.

    Raises:
        SpecError: with everything that is wrong.
    """
    from costsim.planning.planner import studied

    check_self_contained(scenario)
    kind, study, _ = studied(scenario)
    return {
        "valid": True,
        "workload": kind,
        "model": study.model.name,
        "systems": [place.system.id for place in study.places],
        "options": [option.name for option in study.options],
    }
