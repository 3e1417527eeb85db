"""`costsim plan` of a service: formats, and exit codes of what cannot be served."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from costsim.cli import main

SCENARIO = str(Path(__file__).resolve().parents[2] / "scenarios" / "llama3-70b-chat.yaml")
FEW = ("--set", "hardware.system=h100", "--set", "hardware.precision=fp8")


def run(*arguments: str) -> int:
    return main(["plan", SCENARIO, *FEW, *arguments])


def test_json_names_the_fleet_and_its_percentiles(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 2
    best = found["best"]
    assert best["replicas"] * best["replica_devices"] <= best["devices"]
    assert best["measured"]["ttft"]["p99_s"] >= best["measured"]["ttft"]["median_s"]
    assert best["low"]["tpot_median_s"] < best["measured"]["tpot"]["median_s"]
    assert [row["load_ratio"] for row in found["sensitivity"]] == [0.5, 0.75, 1.0, 1.1, 1.25]
    assert len(best["day"]["replicas"]) == 24
    assert best["deploy"].startswith("vllm serve meta-llama/Llama-3.1-70B")


@pytest.mark.parametrize("name", ["table", "markdown", "html", "csv"])
def test_every_format_is_written(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--format", name) == 0
    assert "H100" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "code", "message"),
    [
        ("workload.slo.tpot=1 ms", 3, "nothing keeps the objectives"),
        ("workload.requests_per_s=0", 1, "requests_per_s"),
        ("workload.input_tokens=200000", 1, "has positions for"),
        ("hardware.replica_devices=1", 3, "fits on no replica"),
    ],
)
def test_what_cannot_be_served_has_its_exit_code(
    setting: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--set", setting]
    if "replica_devices" in setting:
        settings += ["--set", "hardware.precision=bf16"]
    assert run(*settings) == code
    assert message in capsys.readouterr().err
