"""Comparing compressed models: the example scenarios, their laws, and what is wrong with one."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from costsim.cli import main
from costsim.documents import load_document
from costsim.errors import InfeasiblePlanError, SpecError
from costsim.planning import Plan, plan
from costsim.reporting import render
from costsim.reporting.plans import plan_report

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
DEVICE = "nvidia-a100-sxm4-80gb"
EXAMPLES = sorted(path.name for path in SCENARIOS.glob("*-compressed.yaml"))


@cache
def planned(name: str) -> Plan:
    # One device each: what is compared are the options.
    return plan(SCENARIOS / name, [f"hardware.system={DEVICE}"])


def small(**changes: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "model": "llama-3.1-8b",
        "compression": ["none", "awq-int4"],
        "workload": {
            "kind": "inference",
            "input_tokens": 500,
            "output_tokens": 200,
            "requests_per_s": 10,
        },
        "hardware": {"system": "nvidia-a100-sxm4-80gb", "replica_devices": 1},
        "price": "2 $/h",
        **changes,
    }


def test_there_are_examples() -> None:
    assert "llama3-70b-compressed.yaml" in EXAMPLES
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_best_is_the_cheapest_that_is_allowed(name: str) -> None:
    found = planned(name)
    compared = found.comparison
    assert compared is not None
    limit = found.scenario["limits"].get("quality_loss")
    allowed = [c for c in compared.ways if limit is None or c.option.loss.worst <= limit]
    assert found.best.value("cost_usd") == min(c.value("cost_usd") for c in allowed)
    assert compared.cheapest.value("cost_usd") == min(c.value("cost_usd") for c in compared.ways)
    options = found.scenario["compression"]
    assert len(compared.ways) + len(found.refused) == len(options)


@pytest.mark.parametrize("name", EXAMPLES)
def test_totals_are_making_and_running(name: str) -> None:
    compared = planned(name).comparison
    assert compared is not None
    for c in compared.ways:
        total = c.value("making_usd") + c.value("running_usd")
        assert c.value("cost_usd") == pytest.approx(total)
        hours = "device_hours" if "device_hours" in c.figures else "running_device_hours"
        paid = c.value(hours) * c.price.usd_per_device_hour
        compute = next(line for line in c.budget.lines if line.name == "Compute")
        unused = sum(part.usd for part in compute.children if part.name == "Devices not used")
        assert compute.usd - unused == pytest.approx(paid, rel=1e-3, abs=1.0)
        assert c.value("running_usd") >= compute.usd - 1.0  # budgets are kept in whole dollars
        if c.option.plain:
            assert c.value("making_usd") == 0
            assert c.option.loss.worst == 0


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_waterfall_adds_up(name: str) -> None:
    found = planned(name)
    compared = found.comparison
    assert compared is not None
    assert compared.baseline is not None
    start = compared.baseline.value("cost_usd")
    for steps, end in (
        (compared.waterfall, found.best),
        (compared.cheapest_waterfall, compared.cheapest),
    ):
        assert steps[0].total_usd == start
        assert steps[-1].total_usd == pytest.approx(end.value("cost_usd"))
        changes = sum(step.change_usd for step in steps)
        assert start + changes == pytest.approx(end.value("cost_usd"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_break_even_is_where_the_totals_meet(name: str) -> None:
    compared = planned(name).comparison
    assert compared is not None
    assert compared.baseline is not None
    rates = compared.usd_per_million
    plain = rates[compared.baseline.label]
    for entry in compared.break_even:
        if entry.units is None:
            assert rates[entry.option] >= plain
            continue
        millions = entry.units / 1e6
        with_it = entry.making_usd + millions * rates[entry.option]
        assert with_it == pytest.approx(millions * plain, rel=1e-6)


@pytest.mark.parametrize("name", EXAMPLES)
def test_reports_in_every_format(name: str) -> None:
    report = plan_report(planned(name))
    for form in ("table", "markdown", "html", "csv"):
        assert render(report, form)


def test_the_same_scenario_gives_the_same_bytes() -> None:
    assert plan(small()).to_json() == plan(small()).to_json()


def test_the_command_prints_comparison_waterfall_and_break_even(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = ["--set", "hardware.system=nvidia-a100-sxm4-80gb"]
    settings += ["--set", "compression=[none, awq-int4, '2:4+fp8']"]
    arguments = [str(SCENARIOS / "llama3-70b-compressed.yaml"), "--full", *settings]
    assert main(["plan", *arguments]) == 0
    said = capsys.readouterr().out
    for words in ("OPTIONS", "WHAT EACH STEP CONTRIBUTES", "BREAK-EVEN", "unknown"):
        assert words in said
    assert max(len(line) for line in said.splitlines()) <= 80


def test_more_traffic_costs_more_and_making_does_not() -> None:
    few, many = (plan(small(), [f"workload.requests_per_s={rate}"]) for rate in (10, 100))
    assert few.comparison is not None
    assert many.comparison is not None
    making = [
        {c.option.name: c.value("making_usd") for c in found.comparison.ways}
        for found in (few, many)
        if found.comparison
    ]
    assert making[0] == making[1]
    assert many.best.value("running_usd") > few.best.value("running_usd")


def test_a_limit_of_quality_refuses_what_is_unknown() -> None:
    bound = plan(small(compression=["none", "int4"], limits={"quality_loss": "2 %"}))
    assert bound.best.option.name == "none"


def test_training_shows_what_adapters_save() -> None:
    compared = planned("llama2-70b-lora-compressed.yaml").comparison
    assert compared is not None
    cost = {c.option.name: c.value("cost_usd") for c in compared.ways}
    assert cost["lora"] < cost["none"]
    assert cost["qlora"] < cost["none"]
    for c in compared.ways:
        held = c.value("memory_bytes_per_device")
        assert held <= c.system.accelerator.memory_usable_bytes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"compression": ["none", "awq-int5"]}, "unknown recipe `awq-int5`"),
        ({"compression": ["fp8+2:4"]}, "must come before"),
        ({"compression": []}, "compression"),
        ({"hardware": {"system": "nvidia-a101"}}, "nvidia-a101"),
        ({"model": "llama-9"}, "unknown model"),
        ({"workload": {"kind": "inference", "input_tokens": 5}}, "requests_per_s"),
        (
            {"workload": {"kind": "inference", "requests_per_s": 1, "input_tokens": 5}},
            "output_tokens",
        ),
        (
            {
                "workload": {
                    "kind": "training",
                    "tokens": "1 B tokens",
                    "sequence": 2048,
                    "global_batch": 64,
                }
            },
            "replica_devices",
        ),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        plan(small(**changes))


def test_a_wrong_recipe_is_placed_in_the_file(tmp_path: Path) -> None:
    text = (SCENARIOS / "gpt3-compressed.yaml").read_text().replace("awq-int4", "awq-int5")
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        plan(file)
    line = next(i for i, row in enumerate(text.splitlines(), 1) if "awq-int5" in row)
    assert caught.value.problems[0].location is not None
    assert caught.value.problems[0].location.line == line


def test_what_fits_nowhere_says_why() -> None:
    with pytest.raises(InfeasiblePlanError, match="fits on no replica"):
        plan(small(model="gpt3-175b", compression=["none"]))


def test_over_budget_ends_with_four(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "dear.yaml"
    file.write_text((SCENARIOS / "gpt3-compressed.yaml").read_text() + "limits: {cost: 1000 $}\n")
    assert main(["plan", str(file), "--set", "compression=[none, awq-int4]"]) == 4
    said = capsys.readouterr()
    assert "over $1,000" in said.err
    assert "ANSWER" in said.out


def test_examples_have_no_unknown_keys() -> None:
    for name in EXAMPLES:
        assert isinstance(load_document(SCENARIOS / name).value, dict)
