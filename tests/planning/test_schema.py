"""The published schema of a scenario is that of the code."""

from __future__ import annotations

import json
from pathlib import Path

from costsim.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent


def test_schema_file_is_up_to_date(tmp_path: Path) -> None:
    """`costsim schema scenario -o docs/schema/scenario.json` renews it."""
    now = tmp_path / "scenario.json"
    assert main(["schema", "scenario", "-o", str(now)]) == 0
    published = ROOT / "docs" / "schema" / "scenario.json"
    assert json.loads(now.read_text()) == json.loads(published.read_text())
