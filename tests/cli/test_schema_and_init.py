from __future__ import annotations

import json
from pathlib import Path

import pytest

from costsim.cli import main
from costsim.cli.schema import KINDS
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
    assert capsys.readouterr().out.split() == HERE


def test_unknown_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "scenery"]) == 1
    assert "no schema is called `scenery`" in capsys.readouterr().err


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
