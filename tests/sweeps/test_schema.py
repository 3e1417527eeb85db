from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

import costsim
from costsim.cli import main
from costsim.documents import load_document

ROOT = Path(__file__).resolve().parents[2]


def test_published_schema_is_the_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """`costsim schema sweep -o docs/schema/sweep.json` renews it."""
    assert main(["schema", "sweep"]) == 0
    assert (ROOT / "docs/schema/sweep.json").read_text(encoding="utf-8") == capsys.readouterr().out


def test_studies_and_rows_keep_to_it(study: Path) -> None:
    schema = json.loads((ROOT / "docs/schema/sweep.json").read_text(encoding="utf-8"))

    def check(value: object, part: str) -> None:
        jsonschema.validate(value, {**schema, "$ref": f"#/$defs/{part}"})

    check(load_document(study).value, "StudyFile")
    for path in (ROOT / "scenarios/studies").glob("*.yaml"):
        check(load_document(path).value, "StudyFile")
    for row in costsim.sweep(study, limit=8):
        check(row, "ResultRow")
    with pytest.raises(jsonschema.ValidationError):
        check({"scenario": "gpt3", "very": {}}, "StudyFile")
