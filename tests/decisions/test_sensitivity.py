"""Sensitivity is that of scenarios written out; flips are where separate plans cross."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from costsim.cli import main
from costsim.decisions.sensitivity import Flip, Sensitivity, way
from costsim.errors import SpecError
from costsim.planning import plan
from costsim.reporting.model import Tornado
from costsim.reporting.sensitivity_report import sensitivity_report

SCENARIO: dict[str, Any] = {
    "name": "GPT-2 XL",
    "model": "gpt2-xl",
    "workload": {
        "kind": "training",
        "tokens": "40 B tokens",
        "sequence": 1024,
        "global_batch": 512,
    },
    "hardware": {"system": "nvidia-a100-sxm4-80gb", "devices": 16},
    "strategy": {"micro_batch": [1, 4], "pp": 1, "cp": 1, "tp": 1},
    "price": "2.5 $/h",
}
TWO = ["nvidia-a100-sxm4-80gb", "nvidia-h100-sxm5-80gb"]


@pytest.fixture(scope="module")
def small() -> Sensitivity:
    return Sensitivity(SCENARIO)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("price", ("price=2.0 $/h", "price=3.0 $/h")),
        ("tokens", ("workload.tokens=32e9", "workload.tokens=48e9")),
    ],
)
def test_what_an_input_moves_is_what_the_scenario_written_so_costs(
    small: Sensitivity, name: str, settings: tuple[str, str]
) -> None:
    moved = {one.name: one for one in small.moved(0.2)}[name]
    for end, setting in zip((moved.low, moved.high), settings, strict=True):
        best = plan(SCENARIO, [setting]).best
        assert end == pytest.approx((best.value("cost_usd"), best.value("days")), rel=1e-9)


def test_price_and_tokens_have_an_elasticity_of_one(small: Sensitivity) -> None:
    moved = {one.name: one for one in small.moved()}
    assert moved["price"].cost_elasticity == pytest.approx(1, abs=2e-3)  # whole dollars
    assert moved["price"].time_elasticity == 0
    assert moved["tokens"].time_elasticity == pytest.approx(1, abs=1e-4)


def test_no_rate_makes_it_slower_and_together_they_are_at_most_proportional(
    small: Sensitivity,
) -> None:
    rates = ("peak FLOPs", "HBM bandwidth", "inner links", "outer links")
    moved = {one.name: one for one in small.moved()}
    each = [moved[name].time_elasticity for name in rates if name in moved]
    assert all(one is not None and one <= 1e-9 for one in each)
    assert sum(one or 0.0 for one in each) >= -1.0  # twice as fast in all: half the time at best


def test_energy_answers_to_power_pue_and_grid(small: Sensitivity) -> None:
    base = small.base.best
    for name, quantity in (("power", "energy_kwh"), ("PUE", "energy_kwh"), ("grid", "co2e_t")):
        changed = small.at(name, 1.2)
        assert changed is not None
        assert changed.best.value(quantity) == pytest.approx(1.2 * base.value(quantity))


def test_the_price_at_which_another_system_wins_is_the_ratio_of_costs() -> None:
    both = {**SCENARIO, "hardware": {"system": TWO, "devices": 16}}
    found = Sensitivity(both)
    costs = [plan(SCENARIO, [f"hardware.system={name}"]).budget.usd for name in TWO]
    assert found.base.budget.usd == min(costs)
    (flip,) = found.flips(["price"])
    assert flip.factor == pytest.approx(max(costs) / min(costs), rel=2e-3)
    assert flip.to not in ("", way(found.base))


def test_a_flip_is_the_nearest_of_a_scan() -> None:
    listed = {key: value for key, value in SCENARIO.items() if key != "price"}
    systems = ["nvidia-h100-sxm5-80gb", "nvidia-b200-sxm-180gb"]
    costs = [plan(listed, [f"hardware.system={name}"]).best for name in systems]
    cheap, quick = sorted(costs, key=lambda one: one.value("cost_usd"))
    slow, fast = cheap.value("days"), quick.value("days")
    assert fast < slow  # so that a deadline can choose the dearer
    limit = 1.4 * slow
    both = {
        **listed,
        "hardware": {"system": systems, "devices": 16},
        "limits": {"deadline": f"{limit} days"},
    }
    found = Sensitivity(both)
    own = way(found.base)
    (flip,) = found.flips(["deadline"])
    assert flip.factor == pytest.approx(slow / limit, rel=2e-3)
    scanned = [math.exp(step / 10) for step in range(-6, 7)]
    other = [at for at in scanned if way(found.at("deadline", at)) != own]
    nearest = min(other, key=lambda at: abs(math.log(at)))
    assert flip.factor is not None
    assert 0 <= abs(math.log(nearest)) - abs(math.log(flip.factor)) + 1e-3 <= 0.1 + 2e-3


def test_what_no_change_flips_is_said(small: Sensitivity) -> None:
    (flip,) = small.flips(["price"])  # one system: no price chooses another
    assert flip.factor is None


def test_inputs_that_a_scenario_lacks_are_refused(small: Sensitivity) -> None:
    with pytest.raises(SpecError, match="no input"):
        small.at("requests_per_s", 2)


def test_the_command_prints_what_python_returns(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Sensitivity
) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(json.dumps(SCENARIO))
    assert main(["sensitivity", str(path), "--format", "json", "--by", "0.2"]) == 0
    told = {one["name"]: one for one in json.loads(capsys.readouterr().out)["inputs"]}
    for one in small.moved():
        assert told[one.name]["low"] == list(one.low or ())
    assert main(["sensitivity", str(path), "--flips", "--input", "price"]) == 0
    printed = capsys.readouterr().out
    assert "no change to 4 times" in printed
    for one in small.moved():
        assert one.name in printed


def test_the_report_says_what_moves_most_and_what_flips(small: Sensitivity) -> None:
    moved = small.moved()
    report = sensitivity_report(small, moved, 0.2, [Flip("price", 1.5, "Other chips")])
    assert report.answer is not None
    assert "price times 1.500; Other chips then wins" in report.answer.text
    cost = report.sections[0].blocks[0]
    assert isinstance(cost, Tornado)
    assert cost.value == small.base.best.value("cost_usd")
    shown = {one.label: (one.low, one.high) for one in cost.reaches}
    for one in moved:
        if one.low and one.high and one.low[0] != one.high[0]:
            assert shown[one.name] == (one.low[0], one.high[0])
        else:
            assert one.name not in shown
