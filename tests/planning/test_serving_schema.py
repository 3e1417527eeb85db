"""The schema of services that editors complete scenarios by is the one in docs."""

from __future__ import annotations

import json
from pathlib import Path

from costsim.planning.serving_scenario import ServingScenario

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schema" / "serving.json"


def test_the_schema_in_docs_is_current() -> None:
    """`costsim schema serving -o docs/schema/serving.json` renews it."""
    found = json.loads(SCHEMA.read_text(encoding="utf-8"))
    found.pop("$schema")
    assert found == ServingScenario.model_json_schema()
