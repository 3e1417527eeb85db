"""`costsim trace`: a step of the best or of a compared strategy, as long as the plan says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import costsim
from costsim.cli import main

SCENARIO = Path(__file__).parents[2] / "scenarios" / "gpt3.yaml"


@pytest.mark.parametrize("label", ["best", "as published in 2021"])
def test_end_is_the_step_time_of_the_plan(label: str, tmp_path: Path) -> None:
    output = tmp_path / "trace.json"
    assert main(["trace", str(SCENARIO), "--strategy", label, "-o", str(output)]) == 0
    trace = json.loads(output.read_text())
    plan = costsim.plan(SCENARIO)
    candidate = next(found for found in plan.candidates if found.label == label)
    ends = [event["ts"] + event["dur"] for event in trace["traceEvents"] if event["ph"] == "X"]
    assert max(ends) / 1e6 == pytest.approx(candidate.value("step_time_s"))


def test_unknown_strategy_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", str(SCENARIO), "--strategy", "bst"]) == 1
    assert "`best`" in capsys.readouterr().err
