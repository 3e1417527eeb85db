"""`costsim compress`: the same figures in every format, and errors that say what to do."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from costsim.architectures import load_model
from costsim.cli import main
from costsim.compression.recipes import recipe_names


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["compress", *arguments]) == 0
    return capsys.readouterr().out


def test_before_and_after(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(_run(capsys, "llama-2-7b", "--recipe", "awq-int4", "--format", "json"))
    model = load_model("llama-2-7b")
    assert found["recipe"] == ["awq-int4"]
    before, after = found["before"], found["after"]
    assert before["parameters"] == after["parameters"] == model.parameters
    assert before["weights_bytes"] == 2 * model.parameters
    assert before["forward_flops"] == model.forward_flops(1, 2048)
    for side in (before, after):
        assert sum(side["weights_bytes_by_part"].values()) == side["weights_bytes"]
        assert sum(side["weights_bytes_by_content"].values()) == side["weights_bytes"]
        assert sum(side["forward_flops_by_format"].values()) == side["forward_flops"]
    ratio = after["weights_bytes"] / before["weights_bytes"]
    assert found["after_over_before"]["weights_bytes"] == ratio
    assert found["quality"][0]["low"] > 0


def test_the_same_input_gives_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("gpt2", "--recipe", "2:4,int8", "--hardware", "nvidia-h100-sxm5-80gb")
    for form in ("table", "json", "csv"):
        assert _run(capsys, *asked, "--format", form) == _run(capsys, *asked, "--format", form)


def test_csv_has_the_figures_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("resnet50", "--recipe", "prune-channels,int8")
    rows = csv.DictReader(io.StringIO(_run(capsys, *asked, "--format", "csv")))
    flat = {row["figure"]: row["after"] for row in rows}
    after = json.loads(_run(capsys, *asked, "--format", "json"))["after"]
    assert int(flat["weights_bytes"]) == after["weights_bytes"]
    parts = after["weights_bytes_by_part"]
    assert int(flat["weights_bytes_by_part.convolutions"]) == parts["convolutions"]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("awq", ("llama-3.1-70b", "--recipe", "awq-int4")),
        ("sparse_fp8", ("llama-3.1-8b", "--recipe", "2:4,fp8")),
        ("distilled", ("llama-3.1-70b", "--recipe", "distill")),
        ("lora", ("llama-2-7b", "--recipe", "lora", "--sequence", "512")),
    ],
)
def test_table(
    capsys: pytest.CaptureFixture[str], golden, name: str, asked: tuple[str, ...]
) -> None:
    golden(f"compress_{name}.txt", _run(capsys, *asked))


def test_every_recipe_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _run(capsys, "--list").splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(recipe_names())
    listed = json.loads(_run(capsys, "--list", "--format", "json"))["recipes"]
    assert all(recipe["description"] for recipe in listed)


def test_a_recipe_of_ones_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "description: halves layers and quantizes the rest\n"
        "steps:\n"
        "  - {kind: prune, unit: layers, ratio: 0.5}\n"
        "  - {kind: quantize, format: int4-g64, matrices: layers}\n"
    )
    ours = json.loads(_run(capsys, "gpt2", "--recipe", str(file), "--format", "json"))
    assert ours["recipe"] == ["mine"]
    assert ours["after"]["weights_bytes"] < 0.5 * ours["before"]["weights_bytes"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gpt2", "--recipe", "2:4", "--hardware", "google-tpu-v5p"), "no matrix units"),
        (("gpt2", "--recipe", "int4-w4a4", "--hardware", "a100-80gb"), "no kernel is modelled"),
        (("gpt2", "--recipe", "fp8,2:4"), "must come before"),
        (("gpt2", "--recipe", "prune-heads:ratio=1.0"), "leaves none"),
        (("gpt2", "--recipe", "fp9"), "unknown recipe `fp9`"),
        (("gpt9", "--recipe", "fp8"), "unknown model `gpt9`"),
        (("gpt2", "--recipe", "fp8", "--dtype", "bf17"), "unknown number format"),
    ],
)
def test_errors(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    assert main(["compress", *arguments]) == 1
    said = capsys.readouterr()
    assert words in said.err
    assert "hint:" in said.err
    assert said.out == ""


def test_wrong_file_says_where(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("steps:\n  - kind: quantize\n    format: int4-g64\n    grup: 3\n")
    assert main(["compress", "gpt2", "--recipe", str(file)]) == 1
    assert f"{file}:4:5" in capsys.readouterr().err


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", "gpt2"]) == 2
    assert "--recipe is missing" in capsys.readouterr().err
