"""Backwards answers about services and jobs are plans that just keep to their limits."""

from __future__ import annotations

from typing import Any

import pytest

from costsim.cli import main
from costsim.decisions.solve import solve
from costsim.errors import InfeasiblePlanError, OverBudgetError, SpecError
from costsim.planning import plan
from costsim.reporting import FORMATS, render
from costsim.reporting.plans import plan_report

H100 = "nvidia-h100-sxm5-80gb"
SERVICE: dict[str, Any] = {
    "name": "Chat",
    "model": "llama-3.1-8b",
    "workload": {
        "kind": "inference",
        "requests_per_s": 20,
        "input_tokens": 500,
        "output_tokens": 100,
        "slo": {"ttft": "2 s", "tpot": "60 ms"},
    },
    "hardware": {"system": H100, "replica_devices": 1, "precision": "bf16"},
    "price": "2 $/h",
    "months": 1,
}
JOB: dict[str, Any] = {
    "name": "Summaries",
    "model": "llama-3.1-8b",
    "workload": {
        "kind": "job",
        "requests": 2e6,
        "within": "24 h",
        "input_tokens": 1000,
        "output_tokens": 200,
    },
    "hardware": {"system": H100, "replica_devices": 1, "precision": "bf16"},
    "price": "2 $/h",
}


@pytest.mark.parametrize(
    ("scenario", "limit", "key"),
    [
        (SERVICE, "limits.cost=9000 $", "requests_per_s"),
        (SERVICE, f"hardware.available={{{H100}: 3}}", "requests_per_s"),
        (JOB, "limits.cost=400 $", "requests"),
    ],
)
def test_the_most_load_keeps_to_the_limit_and_a_little_more_does_not(
    scenario: dict[str, Any], limit: str, key: str
) -> None:
    found = solve(scenario, "load", [limit])
    plan(scenario, (limit, *found.settings)).check_limits()
    more = f"workload.{key}={found.value * 1.006:.6g}"
    with pytest.raises((OverBudgetError, InfeasiblePlanError)):
        plan(scenario, (limit, more)).check_limits()


def test_a_job_is_done_as_soon_as_its_budget_allows() -> None:
    base = plan(JOB).best
    limit = f"limits.cost={base.value('cost_usd') * 2:.0f} $"
    found = solve(JOB, "deadline", [limit])
    assert found.unit == "s"
    assert found.value < 24 * 3600
    found.plan.check_limits()


def test_least_money_and_fewest_devices_are_those_of_the_plan() -> None:
    best = plan(SERVICE).best
    assert solve(SERVICE, "budget").value == pytest.approx(best.value("cost_usd"), abs=0.01)
    assert solve(SERVICE, "devices").value == best.devices  # one device, one price


def test_what_is_asked_may_stand_in_the_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    asked = {**JOB, "solve_for": "load", "limits": {"cost": "400 $"}}
    assert solve(asked).value == solve(JOB, "load", ["limits.cost=400 $"]).value
    assert any("`costsim solve`" in note for note in plan(asked).notes)
    with pytest.raises(SpecError, match="nothing is asked for"):
        solve(JOB)
    assert main(["solve", "gpt3", "--for", "load"]) == 1
    assert "`load` is of services and jobs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "unknown", "said"),
    [
        ([], "load", "nothing limits `load`"),
        (["limits.cost=400 $"], "tokens", "cannot be solved for"),
        (["limits.cost=0.01 $"], "load", "is within the limits: the best plan costs"),
    ],
)
def test_questions_without_an_answer_say_why(settings: list[str], unknown: str, said: str) -> None:
    with pytest.raises((SpecError, InfeasiblePlanError), match=said):
        solve(JOB, unknown, settings)


@pytest.mark.parametrize("form", FORMATS)
def test_a_job_has_a_report_that_speaks_of_the_whole(form: str) -> None:
    planned = plan(JOB)
    text = render(plan_report(planned), form)
    assert "2,000,000 requests within 24 h" in text or form == "csv"
    assert "a month" not in str(plan_report(planned).answer)
