"""Explanations of a plan: the formula printed is the one that gives the figure."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import sympy

import costsim
from costsim.cli import main
from costsim.errors import UnknownNameError
from costsim.planning import Plan
from costsim.planning.workloads.training.parts import MEMORY_MEANINGS, TIME_MEANINGS
from costsim.training.evaluate import TIME_PARTS
from costsim.training.memory import MEMORY_PARTS
from planning.scenarios import written

SERVICE = {
    "name": "s",
    "model": "llama-3.1-8b",
    "workload": {
        "kind": "inference",
        "requests_per_s": 2,
        "input_tokens": 1000,
        "output_tokens": 200,
    },
    "hardware": {"system": "nvidia-h100-sxm5-80gb", "replica_devices": [1], "spare": 0},
    "site": {"pue": 1.5, "device_power": "900 W"},
    "price": "2 $/h",
}
TRAINED = (
    "step_time_s",
    "days",
    "device_hours",
    "cost_usd",
    "energy_kwh",
    "co2e_t",
    "mfu_ratio",
    "memory_bytes_per_device",
)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return costsim.plan(written(tmp_path_factory.mktemp("plan")))


def test_every_part_has_a_meaning() -> None:
    assert set(TIME_MEANINGS) == set(TIME_PARTS)
    assert set(MEMORY_MEANINGS) == set(MEMORY_PARTS)


@pytest.mark.parametrize("quantity", TRAINED)
def test_every_quantity_is_a_figure_of_the_plan(plan: Plan, quantity: str) -> None:
    found = plan.explain(quantity)
    assert found.value == plan.best.to_dict()[quantity]
    assert found.formula
    assert found.meaning
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high


def test_printed_numbers_give_the_printed_figure(plan: Plan) -> None:
    found = plan.explain("device_hours")
    days, hours, devices = (float(x.replace(",", "")) for x in found.numbers.split(" x "))
    assert days * hours * devices == pytest.approx(found.value, rel=2e-3)


@pytest.mark.parametrize("source", ["training", "service"])
def test_formulas_hold_of_their_own_terms(source: str, plan: Plan) -> None:
    """Each formula, worked out by itself from the terms that it names, gives the figure."""
    made = plan if source == "training" else costsim.plan(SERVICE)
    checked = 0
    for figure in made.best.figures.values():
        values = {t.name: t.value for t in figure.terms if not isinstance(t.value, str)}
        names = set(re.findall(r"[A-Za-z_]\w*", figure.formula)) - {"x", "e6"}
        if not figure.formula or not names <= set(values):
            continue
        expression = re.sub(r" x ", " * ", figure.formula)
        found = float(sympy.sympify(expression, locals=values))  # pyright: ignore
        rounded = 1e-3 if figure.unit == "usd" else 1e-9  # budgets are kept in whole dollars
        assert found == pytest.approx(figure.value, rel=rounded), figure.formula
        checked += 1
    assert checked >= 4


def test_the_energy_of_a_token_follows_the_stated_power() -> None:
    # 900 W x 1.5 over 400 generated tokens a second.
    found = costsim.plan(SERVICE).explain("joules_per_output_token")
    assert found.value == pytest.approx(900 * 1.5 / 400, rel=1e-2)


def test_unknown_quantity(plan: Plan) -> None:
    with pytest.raises(UnknownNameError, match="step_tine") as caught:
        plan.explain("step_tine")
    assert "step_time_s" in str(caught.value)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(written(tmp_path))
    assert main(["explain", path]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{name}: " in text for name in TRAINED)
    assert main(["explain", path, "cost_usd", "--format", "json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["quantities"]
    assert entry["quantity"] == "cost_usd"
    assert main(["explain", path, "cost_usd", "--set", "price=5 $/h", "--format", "json"]) == 0
    (dear,) = json.loads(capsys.readouterr().out)["quantities"]
    assert dear["value"] == pytest.approx(2 * entry["value"], rel=1e-3)
    assert main(["explain", path, "cost_usd", "--format", "latex"]) == 2
