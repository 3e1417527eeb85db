"""Comparing compressed models: the example scenarios, their laws, and what is wrong with one."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from costsim.cli import main
from costsim.documents import load_document
from costsim.errors import InfeasiblePlanError, SpecError
from costsim.planning import CompressionPlan, plan_compressed
from costsim.reporting import render
from costsim.reporting.compression_report import compression_report

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
EXAMPLES = sorted(path.name for path in SCENARIOS.glob("*-compressed.yaml"))


@cache
def planned(name: str) -> CompressionPlan:
    return plan_compressed(SCENARIOS / name)


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
    plan = planned(name)
    limit = plan.scenario["limits"].get("quality_loss")
    allowed = [c for c in plan.candidates if limit is None or c.loss.worst <= limit]
    assert plan.best.total_usd == min(c.total_usd for c in allowed)
    assert plan.cheapest.total_usd == min(c.total_usd for c in plan.candidates)
    options, systems = plan.scenario["compression"], plan.scenario["hardware"]["system"]
    assert len(plan.candidates) + len(plan.refused) == len(options) * len(systems)


@pytest.mark.parametrize("name", EXAMPLES)
def test_totals_are_making_and_running(name: str) -> None:
    for c in planned(name).candidates:
        rate = c.price.usd_per_device_hour
        assert c.running_usd == pytest.approx(c.service.devices * c.service.hours * rate)
        assert c.total_usd == c.making_usd + c.running_usd
        assert c.making_usd >= 0
        assert c.usd_per_mtok * c.service.units / 1e6 == pytest.approx(c.running_usd)
        if not c.compression.applied:
            assert c.making_usd == 0
            assert c.loss.worst == 0


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_waterfall_adds_up(name: str) -> None:
    plan = planned(name)
    assert plan.baseline is not None
    for steps, end in ((plan.waterfall, plan.best), (plan.cheapest_waterfall, plan.cheapest)):
        assert steps[0].total_usd == plan.baseline.total_usd
        assert steps[-1].total_usd == pytest.approx(end.total_usd)
        changes = sum(step.change_usd for step in steps)
        assert plan.baseline.total_usd + changes == pytest.approx(end.total_usd)


@pytest.mark.parametrize("name", EXAMPLES)
def test_break_even_is_where_the_totals_meet(name: str) -> None:
    plan = planned(name)
    baseline = plan.baseline
    assert baseline is not None
    for entry in plan.break_even:
        candidate = next(c for c in plan.candidates if c.label == entry.option)
        if entry.units is None:
            assert candidate.usd_per_mtok >= baseline.usd_per_mtok
            continue
        millions = entry.units / 1e6
        with_it = candidate.making_usd + millions * candidate.usd_per_mtok
        assert with_it == pytest.approx(millions * baseline.usd_per_mtok, rel=1e-6)


@pytest.mark.parametrize("name", EXAMPLES)
def test_only_what_another_beats_is_dominated(name: str) -> None:
    plan = planned(name)

    def measures(c) -> tuple[float, ...]:
        return c.total_usd, c.service.latency_s, c.service.first_s or 0.0, c.loss.worst

    for c in plan.candidates:
        beaten = any(
            all(a <= b for a, b in zip(measures(o), measures(c), strict=True))
            and measures(o) != measures(c)
            for o in plan.candidates
        )
        assert bool(c.dominated_by) is beaten
    assert not plan.cheapest.dominated_by


@pytest.mark.parametrize("name", EXAMPLES)
def test_reports_in_every_format(name: str) -> None:
    report = compression_report(planned(name))
    for form in ("terminal", "markdown", "html", "csv"):
        assert render(report, "table" if form == "terminal" else form)


def test_the_same_scenario_gives_the_same_bytes() -> None:
    assert plan_compressed(small()).to_json() == plan_compressed(small()).to_json()


def test_the_command_prints_comparison_waterfall_and_break_even(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", str(SCENARIOS / "llama3-70b-compressed.yaml")]) == 0
    said = capsys.readouterr().out
    for words in ("OPTIONS", "WHAT EACH STEP CONTRIBUTES", "BREAK-EVEN", "NOT POSSIBLE", "unknown"):
        assert words in said
    assert max(len(line) for line in said.splitlines()) <= 80


def test_json_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(SCENARIOS / "gpt3-compressed.yaml"), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1
    assert {"best", "runner_up", "baseline", "candidates", "waterfall", "break_even"} <= set(found)


def test_more_traffic_costs_more_and_making_does_not() -> None:
    few, many = (
        plan_compressed(small(), [f"workload.requests_per_s={rate}"]) for rate in (10, 1000)
    )
    for one, other in zip(few.break_even, many.break_even, strict=True):
        assert one.making_usd == other.making_usd
    assert many.best.running_usd > few.best.running_usd


def test_a_limit_of_quality_refuses_what_is_unknown() -> None:
    free = plan_compressed(small(compression=["none", "int4"]))
    bound = plan_compressed(small(compression=["none", "int4"], limits={"quality_loss": "2 %"}))
    assert not free.candidates[0].loss.known or free.best.option == "none"
    assert bound.best.option == "none"


def test_training_shows_what_adapters_save() -> None:
    plan = planned("llama2-70b-lora-compressed.yaml")
    cost = {c.option: c.total_usd for c in plan.candidates}
    held = {c.option: c.service.details["memory_bytes_per_device"] for c in plan.candidates}
    assert cost["lora"] < cost["none"]
    assert cost["qlora"] < cost["none"]
    usable = plan.best.system.accelerator.memory_usable_bytes
    assert all(float(size) <= usable for size in held.values())


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
            "training needs",
        ),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        plan_compressed(small(**changes))


def test_a_wrong_recipe_is_placed_in_the_file(tmp_path: Path) -> None:
    text = (SCENARIOS / "gpt3-compressed.yaml").read_text().replace("awq-int4", "awq-int5")
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        plan_compressed(file)
    line = next(i for i, row in enumerate(text.splitlines(), 1) if "awq-int5" in row)
    assert caught.value.problems[0].location is not None
    assert caught.value.problems[0].location.line == line


def test_what_fits_nowhere_says_why() -> None:
    with pytest.raises(InfeasiblePlanError, match="does not fit"):
        plan_compressed(small(model="gpt3-175b", compression=["none"]))


def test_over_budget_ends_with_four(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "dear.yaml"
    file.write_text((SCENARIOS / "gpt3-compressed.yaml").read_text() + "limits: {cost: 1000 $}\n")
    assert main(["plan", str(file)]) == 4
    said = capsys.readouterr()
    assert "over $1,000" in said.err
    assert "ANSWER" in said.out


def test_examples_have_no_unknown_keys() -> None:
    for name in EXAMPLES:
        assert isinstance(load_document(SCENARIOS / name).value, dict)
