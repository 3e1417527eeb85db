"""Scenarios that say something wrong: one clear error each, at its place, with a hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from costsim.cli import main
from costsim.errors import Problem, SpecError
from costsim.planning.planner import studied
from costsim.planning.workloads.training.spec import Training, TrainingScenario
from planning.scenarios import SCENARIO, written

Change = tuple[str, str]

# what is changed, what is appended, (line, column) of the error, and words of message and hint
BAD: dict[str, tuple[list[Change], str, tuple[int, int], str, str]] = {
    "unknown key": ([], "xyzzy: red\n", (12, 1), "unknown key `xyzzy`", "known:"),
    "misspelt key": ([("tokens:", "token:")], "", (5, 3), "workload.token", "tokens"),
    "misspelt model": ([("gpt2-xl", "gtp2-xl")], "", (2, 8), "unknown model", "gpt2-xl"),
    "unknown device": (
        [("nvidia-a100-sxm4-80gb", "nvidia-a100-sxm4-800gb")],
        "",
        (9, 11),
        "unknown hardware",
        "nvidia-a100-sxm4-80gb",
    ),
    "ambiguous device": ([("nvidia-a100-sxm4-80gb", "a100")], "", (9, 11), "several", "pcie"),
    "tp does not divide heads": (
        [],
        "strategy:\n  tp: 6\n",
        (13, 7),
        "25 attention heads",
        "use one of 1",
    ),
    "pp over depth": ([("16\n", "128\n")], "strategy:\n  pp: 64\n", (13, 7), "48 layers", "32"),
    "micro-batch does not divide": (
        [],
        "strategy:\n  micro_batch: 7\n",
        (13, 16),
        "512",
        "1, 2, 4",
    ),
    "chunks do not divide": ([], "strategy:\n  vp: 5\n", (13, 7), "48 layers", "1, 2, 3"),
    "no experts": ([], "strategy:\n  ep: 8\n", (13, 7), "without experts", "use one of 1"),
    "nothing to train on": ([("40 B tokens", "0")], "", (5, 11), "greater than 0", "more than 0"),
    "negative batch": ([("512", "-5")], "", (7, 17), "greater than or equal to 1", "1 or more"),
    "no unit": ([], "limits:\n  cost: 80\n", (13, 9), "has no unit", "$"),
    "wrong unit": ([("2.5 $/h", "2.5 GB")], "", (11, 8), "GB", "$/h"),
    "does not parse": ([], "foo: [1, 2\n", (13, 1), "not valid YAML", "bracket"),
    "duplicate key": ([], "model: gpt2\n", (12, 1), "duplicate key `model`", "line 2"),
    "text for a number": ([("1024", "two")], "", (6, 13), "integer", "whole number"),
    "sequence over positions": ([("1024", "2048")], "", (6, 13), "positions for 1,024", "1024"),
    "unknown grid": ([], "site:\n  grid: Atlantis\n", (13, 9), "unknown grid", "`"),
    "unknown precision": ([("512\n", "512\n  precision: fp12\n")], "", (8, 14), "fp12", "fp16"),
    "no rate in that format": (
        [("512\n", "512\n  precision: fp8\n")],
        "",
        (8, 14),
        "fp8",
        "bf16",
    ),
    "unknown software to compare with": (
        [],
        "compare:\n  - {name: old, software: megatron-2020}\n",
        (13, 27),
        "megatron-2020",
        "megatron-2022",
    ),
    "power that nobody publishes": (
        [("nvidia-a100-sxm4-80gb", "google-tpu-v5p")],
        "",
        (9, 11),
        "no power",
        "device_power: 500 W",
    ),
    "imbalance without experts": (
        [("512\n", "512\n  expert_imbalance: 1.2\n")],
        "",
        (8, 21),
        "no experts",
        "leave `expert_imbalance` out",
    ),
    "documents padded and packed": (
        [("512\n", "512\n  padded_document: 600\n  masked_document: 600\n")],
        "",
        (9, 3),
        "not both",
        "masked_document",
    ),
    "imbalance below one": (
        [("512\n", "512\n  expert_imbalance: 0.9\n")],
        "",
        (8, 21),
        "greater than or equal to 1",
        "1 or more",
    ),
    "oversubscription below one": (
        [("16\n", "16\n  oversubscription: 0.5\n")],
        "",
        (11, 21),
        "greater than or equal to 1",
        "1 or more",
    ),
    "fewest without deadline": ([("16\n", "fewest\n")], "", (10, 12), "deadline", "limits"),
}


def problems(path: Path) -> tuple[Problem, ...]:
    from costsim.planning import plan

    with pytest.raises(SpecError) as caught:
        plan(path)
    return caught.value.problems


@pytest.mark.parametrize("name", BAD)
def test_one_error_at_its_place(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, extra, (line, column), message, hint = BAD[name]
    path = written(tmp_path, *changes, extra=extra)
    (problem,) = [p for p in problems(path) if "missing" not in p.message]
    assert problem.location is not None
    assert (problem.location.line, problem.location.column) == (line, column)
    assert message in problem.message
    assert problem.hint is not None
    assert hint in problem.hint
    output = tmp_path / "report.html"
    assert main(["plan", str(path), "-o", str(output)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"{path}:{line}:{column}: " in printed.err
    assert not output.exists()


def test_all_unknown_names_are_told_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        ("gpt2-xl", "gpt2-xxl"),
        ("nvidia-a100-sxm4-80gb", "nvidia-b100-what"),
        extra="site:\n  grid: Atlantis\n",
    )
    found = problems(path)
    assert [p.location.line for p in found if p.location] == [2, 9, 13]


def test_empty_and_missing_and_large_files(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    (problem,) = problems(empty)
    assert "is empty" in problem.message
    (problem,) = problems(tmp_path / "none.yaml")
    assert "no such file" in problem.message
    large = tmp_path / "large.yaml"
    large.write_text("a: 1\n" * 10_000_000)
    (problem,) = problems(large)
    assert "larger than" in problem.message


def test_numbers_may_have_exponents(tmp_path: Path) -> None:
    _, study, _ = studied(written(tmp_path, ("40 B tokens", "1e9")))
    assert isinstance(study.scenario, TrainingScenario)
    assert isinstance(study.scenario.workload, Training)
    assert study.scenario.workload.tokens == 1e9


def test_settings_change_the_scenario_and_name_themselves_in_errors(tmp_path: Path) -> None:
    path = written(tmp_path)
    _, study, _ = studied(path, ["hardware.devices=[8, 16]", "strategy.tp=1"])
    assert isinstance(study.scenario, TrainingScenario)
    assert study.scenario.hardware.devices == (8, 16)
    assert study.scenario.strategy.tp == (1,)
    with pytest.raises(SpecError) as caught:
        studied(path, ["workload.global_batch=many"])
    assert "--set workload.global_batch" in str(caught.value)
    with pytest.raises(SpecError, match="path=value"):
        studied(path, ["workload.global_batch"])


def test_a_config_of_an_unsupported_type_is_told_in_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "frobnicator", "hidden_size": 64}')
    path = written(tmp_path, ("gpt2-xl", "./config.json"))
    (problem,) = problems(path)
    assert problem.location is not None
    assert problem.location.file.endswith("config.json")
    assert "frobnicator" in problem.message
    assert problem.hint


def test_the_scenario_of_this_file_is_right() -> None:
    assert SCENARIO.count("\n") == 11


def test_a_key_of_a_model_in_the_scenario_has_its_own_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text(
        "name: t\nmodel:\n  layers: 16\n  tie: false\n"
        "workload: {kind: training, tokens: 1 B, sequence: 512, global_batch: 64}\n"
        "hardware: {system: dgx-h100, devices: 8}\n"
    )
    assert main(["plan", str(tmp_path / "s.yaml")]) == 1
    assert "s.yaml:4:3: unknown key `tie`" in capsys.readouterr().err
    assert main(["plan", str(tmp_path / "s.yaml"), "--set", "model.tied=1"]) == 1
    assert "--set model.tied: " in capsys.readouterr().err
