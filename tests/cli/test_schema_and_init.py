from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from costsim.cli import main
from costsim.cli.init import KINDS as STARTERS
from costsim.cli.schema import KINDS, PRINTED
from costsim.documents import load_document, parse_as
from costsim.planning.workloads.training.spec import TrainingScenario

HERE = list(KINDS)


@pytest.mark.parametrize("kind", HERE)
def test_every_kind_prints_a_schema(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", kind]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema.get("properties") or schema["anyOf"]


def test_kinds_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out.split() == [*HERE, *PRINTED]


def test_unknown_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "scenery"]) == 1
    assert "no schema is called `scenery`" in capsys.readouterr().err


@pytest.mark.parametrize("kind", STARTERS)
def test_a_starter_of_every_kind_plans_as_it_is(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    assert main(["init", str(path), "--kind", kind]) == 0
    assert main(["plan", str(path)]) == 0
    assert "ANSWER" in capsys.readouterr().out


def test_a_starter_takes_a_model_a_device_and_a_schema(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    flags = ["--model", "qwen3-0.6b", "--hardware", "[h200, b200]", "--schema"]
    assert main(["init", str(path), "--kind", "service", *flags]) == 0
    lines = path.read_text("utf-8").splitlines()
    assert lines[0] == "# yaml-language-server: $schema=scenario.schema.json"
    schema = json.loads((tmp_path / "scenario.schema.json").read_text("utf-8"))
    scenario = load_document(path).value
    jsonschema.validate(scenario, schema)
    assert scenario["model"] == "qwen3-0.6b"
    assert scenario["hardware"]["system"] == ["h200", "b200"]
    assert scenario["name"] == "qwen3-0.6b on [h200, b200]"
    hostile = tmp_path / "other.yaml"
    assert main(["init", str(hostile), "--model", "a: [b, 'c\x1b"]) == 0
    assert load_document(hostile).value["model"] == "a: [b, 'c\x1b"


def test_init_asks_on_a_terminal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["job", "qwen3-4b", "h200"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("click.prompt", lambda *_, **__: next(answers))
    path = tmp_path / "mine.yaml"
    assert main(["init", str(path)]) == 0
    scenario = load_document(path).value
    assert (scenario["workload"]["kind"], scenario["model"]) == ("job", "qwen3-4b")


def test_init_writes_a_scenario_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    assert main(["init", str(path)]) == 0
    written = path.read_text()
    assert parse_as(load_document(path), TrainingScenario).limits.cost == 250_000
    assert written.startswith("#")
    path.write_text("mine\n")
    assert main(["init", str(path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert path.read_text() == "mine\n"
