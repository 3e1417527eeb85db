"""`costsim plan` of what flags state: the answer of a file that says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from costsim.cli import main

TRAINING = (
    [
        "--model",
        "llama-3-8b",
        "--hardware",
        "h100",
        "--devices",
        "8",
        "--tokens",
        "10B",
        "--sequence",
        "4096",
        "--global-batch",
        "64",
        "--deadline",
        "900 days",
    ],
    """
name: llama-3-8b, training
model: llama-3-8b
workload: {kind: training, tokens: 10B, sequence: 4096, global_batch: 64}
hardware: {system: h100, devices: 8}
limits: {deadline: 900 days}
""",
)
SERVICE = (
    [
        "--model",
        "llama-3-8b",
        "--hardware",
        "h100",
        "--hardware",
        "l4",
        "--requests-per-s",
        "2",
        "--input-tokens",
        "500",
        "--output-tokens",
        "100",
        "--tpot",
        "80 ms",
        "--price",
        "2 $/h",
    ],
    """
name: llama-3-8b, inference
model: llama-3-8b
workload: {kind: inference, requests_per_s: 2.0, input_tokens: 500, output_tokens: 100,
           slo: {tpot: 80 ms}}
hardware: {system: [h100, l4]}
price: 2 $/h
""",
)


@pytest.mark.parametrize(("flags", "text"), [TRAINING, SERVICE], ids=["training", "service"])
def test_flags_answer_as_the_file(
    flags: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(text, encoding="utf-8")
    answers = []
    for asked in (flags, [str(file)]):
        assert main(["plan", *asked, "--format", "json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    for answer in answers:
        answer.pop("input_hash")
    assert answers[0]["best"] == answers[1]["best"]
    assert answers[0]["candidates"] == answers[1]["candidates"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "nothing to plan"),
        (["--model", "llama-3-8b", "--tokens", "1T"], "needs --hardware, --sequence"),
        (["--model", "llama-3-8b", "--hardware", "h100"], "needs --tokens"),
        (["gpt3", "--model", "llama-3-8b"], "both say"),
        (["--tokens", "1T", "--requests-per-s", "2"], "two workloads"),
    ],
)
def test_what_is_missing_is_named(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *flags]) == 2
    assert said in capsys.readouterr().err
