"""The published schemas are those of the code, and what is printed keeps to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from costsim.cli import main
from costsim.cli.schema import PRINTED, schema_text

ROOT = Path(__file__).resolve().parent.parent.parent
SCENARIOS = (
    "gpt3",
    "resnet50-training",
    "grpo",
    "resnet50-compressed",
    "bert-embedding",
    "stable-diffusion",
    "starters/job",
    "starters/service",
    "starters/fine-tuning",
)


@pytest.mark.parametrize("kind", ["scenario", *PRINTED])
def test_schema_files_are_up_to_date(kind: str, tmp_path: Path) -> None:
    """`costsim schema KIND -o docs/schema/KIND.json` renews one."""
    now = tmp_path / "schema.json"
    assert main(["schema", kind, "-o", str(now)]) == 0
    published = ROOT / "docs" / "schema" / f"{kind}.json"
    assert json.loads(now.read_text("utf-8")) == json.loads(published.read_text("utf-8"))


def validated(kind: str, content: Any) -> None:
    schema = json.loads(schema_text(kind))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(content, schema)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_plan_keeps_to_its_schema(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = yaml.safe_load((ROOT / "scenarios" / f"{name}.yaml").read_text("utf-8"))
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**given, "start": "2027-01-15"}), "utf-8")
    code = main(["plan", str(path), "--allow-outside", "--format", "json"])
    assert code in (0, 4)
    printed = json.loads(capsys.readouterr().out)
    validated("plan", printed)
    assert printed["cash_flow"]["months"][0].startswith("202")


def test_a_fit_keeps_to_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    for hardware in ("h100", "rtx-4090"):
        assert main(["fit", "llama-3.1-8b", "--hardware", hardware, "--format", "json"]) in (0, 3)
        validated("fit", json.loads(capsys.readouterr().out))


def test_a_validation_keeps_to_its_schema(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(
        "id,family,model,params_B,layers,hidden,heads,vocab,seq_len,accelerator_id,n_devices,"
        "precision,global_batch,step_time_s\n"
        "a,llm-dense,llama-3-8b,8.03,32,4096,32,128256,8192,nvidia-h100-sxm5-80gb,8,bf16,64,9\n"
        "b,llm-dense,unheard-of,,,,,,8192,nvidia-h100-sxm5-80gb,8,bf16,64,\n"
    )
    assert main(["validate", str(path), "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["rows"]) >= 2
    validated("validation", printed)


@pytest.mark.parametrize("key", ["best", "budget", "notes"])
def test_a_plan_without_a_key_breaks_the_schema(key: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validated("plan", {"schema_version": 2, key: None})
