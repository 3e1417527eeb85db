"""Explanations of a plan: the formula printed is the one that gives the figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import costsim
from costsim.cli import main
from costsim.errors import UnknownNameError
from costsim.planning import Plan
from costsim.planning.explanations import (
    MEMORY_MEANINGS,
    PLAN_QUANTITIES,
    TIME_MEANINGS,
    explain_plan,
)
from costsim.training.evaluate import TIME_PARTS
from costsim.training.memory import MEMORY_PARTS
from planning.scenarios import written


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return costsim.plan(written(tmp_path_factory.mktemp("plan")))


def test_every_part_has_a_meaning() -> None:
    assert set(TIME_MEANINGS) == set(TIME_PARTS)
    assert set(MEMORY_MEANINGS) == set(MEMORY_PARTS)


@pytest.mark.parametrize("quantity", PLAN_QUANTITIES)
def test_every_quantity_is_a_figure_of_the_plan(plan: Plan, quantity: str) -> None:
    found = explain_plan(plan, quantity)
    assert found.quantity == quantity
    assert quantity in plan.best.to_dict()
    assert found.formula
    assert found.value


def test_printed_numbers_give_the_printed_figure(plan: Plan) -> None:
    found = explain_plan(plan, "device_hours")
    days, hours, devices = (float(x.replace(",", "")) for x in found.numbers.split(" x "))
    value = float(found.value.replace(",", ""))
    assert days * hours * devices == pytest.approx(value, rel=2e-3)


def test_unknown_quantity(plan: Plan) -> None:
    with pytest.raises(UnknownNameError, match="step_tine") as caught:
        explain_plan(plan, "step_tine")
    assert "step_time_s" in str(caught.value)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(written(tmp_path))
    assert main(["explain", path]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{name}: " in text for name in PLAN_QUANTITIES)
    assert main(["explain", path, "cost_usd", "--format", "json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["quantities"]
    assert entry["quantity"] == "cost_usd"
    assert main(["explain", path, "cost_usd", "--format", "latex"]) == 2
