"""The difference of two plans: nothing of a plan with itself, else every amount that moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from costsim.cli import main
from costsim.decisions import diff
from costsim.planning import plan

SCENARIO = """\
name: GPT-2 XL on 16 A100
model: gpt2-xl
workload: {kind: training, tokens: 40 B tokens, sequence: 1024, global_batch: 512}
hardware: {system: nvidia-a100-sxm4-80gb, devices: 16}
price: 2.5 $/h
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("diff")
    one, two = folder / "one.yaml", folder / "two.yaml"
    one.write_text(SCENARIO)
    two.write_text(SCENARIO.replace("2.5 $/h", "5 $/h"))
    return one, two


def test_a_plan_and_its_own_json_do_not_differ(files: tuple[Path, Path], tmp_path: Path) -> None:
    stored = tmp_path / "plan.json"
    stored.write_text(plan(files[0]).to_json())
    assert not diff(files[0], stored)
    assert main(["diff", str(files[0]), str(stored), "--exit-code"]) == 0


def test_amounts_are_those_of_the_two_plans(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = (plan(path) for path in files)
    assert main(["diff", *map(str, files), "--format", "json", "--exit-code"]) == 1
    changes = {
        (one["section"], one["name"]): one for one in json.loads(capsys.readouterr().out)["changes"]
    }
    assert changes["inputs", "price"]["after"] == 5.0
    assert changes["takes", "cost_usd"]["delta"] == after.budget.usd - before.budget.usd
    moved = sum(one["delta"] for (section, _), one in changes.items() if section == "budget")
    assert moved == pytest.approx(after.budget.usd - before.budget.usd, abs=1e-6)
    assert ("takes", "days") not in changes  # a price changes no time


def test_text_and_markdown_mark_what_is_more(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", *map(str, files)]) == 0
    assert "~ cost_usd" in capsys.readouterr().out
    assert main(["diff", *map(str, files), "--format", "markdown"]) == 0
    assert "| ~ | cost_usd |" in capsys.readouterr().out


def test_what_is_no_plan_is_named_at_its_place(tmp_path: Path) -> None:
    part = tmp_path / "part.json"
    part.write_text('{"best": {}}')
    assert main(["diff", str(part), str(part)]) == 1
    assert main(["diff", str(tmp_path / "none.yaml"), str(part)]) == 1


def test_settings_change_both_sides_but_no_stored_plan(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    assert not diff(*files, settings=["price=3 $/h"])
    stored = tmp_path / "plan.json"
    stored.write_text(plan(files[0]).to_json())
    assert main(["diff", str(files[0]), str(stored), "--set", "price=3 $/h"]) == 1


@pytest.mark.parametrize("part", ["best", "scenario", "budget"])
def test_a_damaged_plan_is_an_error_of_the_input(
    files: tuple[Path, Path], tmp_path: Path, part: str
) -> None:
    stored = tmp_path / "plan.json"
    stored.write_text(json.dumps({**json.loads(plan(files[0]).to_json()), part: 3}))
    assert main(["diff", str(files[0]), str(stored)]) == 1
