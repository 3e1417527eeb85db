"""`costsim estimate`: its figures are those of the library, for tokens and for images."""

from __future__ import annotations

import csv
import io
import json

import pytest

import costsim
from costsim.cli import main
from costsim.training import Strategy

Output = pytest.CaptureFixture[str]


def estimate(capsys: Output, *arguments: str) -> dict:
    assert main(["estimate", *arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("phase", ["forward", "prefill", "decode"])
def test_inference_is_the_librarys(phase: str, capsys: Output) -> None:
    found = estimate(capsys, "llama-3-8b", "--hardware", "h100", "--phase", phase, "--batch", "1,8")
    model = costsim.load_model("llama-3-8b")
    system = costsim.load_hardware("h100", count=1)
    for row, batch in zip(found["batches"], (1, 8), strict=True):
        expected = costsim.estimate_inference(
            model, system, phase=phase, batch=batch, sequence=2048
        )
        assert row["latency_s"] == expected.latency_s
        assert sum(row["time_by_part_s"].values()) == pytest.approx(row["latency_s"])
        assert sum(row["memory_by_part_bytes"].values()) == pytest.approx(
            row["memory_bytes_per_device"]
        )
    if phase == "decode":  # one token a sequence; weights and cache bound it
        assert found["batches"][0]["flops"] == model.decode_flops(1, 2048)
        floor_s = 2 * model.parameters / system.accelerator.memory_bandwidth_bytes_per_s
        embedding_s = 2 * model.embedding_parameters / 3.35e12
        assert found["batches"][0]["latency_s"] > floor_s - embedding_s


def test_training_is_the_librarys(capsys: Output) -> None:
    found = estimate(capsys, "gpt2", "--hardware", "a100-80gb", "--phase", "training")
    expected = costsim.estimate_training(
        costsim.load_model("gpt2"),
        costsim.load_hardware("a100-80gb", count=1),
        Strategy(),
        global_batch=1,
        sequence=1024,
    )
    assert found["sequence"] == 1024
    assert found["batches"][0]["latency_s"] == expected.step_time_s


def test_images_are_counted_as_samples(capsys: Output) -> None:
    assert main(["estimate", "resnet50", "--hardware", "a100-80gb", "--batch", "64"]) == 0
    text = capsys.readouterr().out
    assert "SAMPLES/S" in text
    assert "tokens" not in text
    found = estimate(capsys, "resnet50", "--hardware", "a100-80gb", "--batch", "64")["batches"][0]
    # torchvision states 4.09 G multiply-adds.
    assert found["flops"] == pytest.approx(64 * 2 * 4.09e9, rel=1e-3)
    assert found["items_per_s"] == pytest.approx(64 / found["latency_s"])


def test_csv_has_a_row_a_batch(capsys: Output) -> None:
    arguments = ["gpt2", "--hardware", "a10", "--batch", "1,2,4", "--format", "csv"]
    assert main(["estimate", *arguments]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["batch"] for row in rows] == ["1", "2", "4"]
    assert all(float(row["memory_weights_bytes"]) > 0 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gtp2", "--hardware", "a10"], 1, "unknown model"),
        (["gpt2", "--hardware", "a11"], 1, "unknown hardware"),
        (["gpt2", "--hardware", "a10", "--batch", "0"], 2, "list of batch sizes"),
        (["gpt2", "--hardware", "a10", "--precision", "fp9"], 1, "fp9"),
        (["gpt2", "--hardware", "a10", "--sequence", "4096"], 1, "1,024"),
        (["gpt2", "--hardware", "a100-80gb", "--devices", "8"], 1, "12 attention heads"),
    ],
)
def test_wrong_input_is_one_clear_error(
    arguments: list[str], code: int, message: str, capsys: Output
) -> None:
    assert main(["estimate", *arguments]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
