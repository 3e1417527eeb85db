import csv
import io
import json
from pathlib import Path

import pytest

from costsim.architectures import load_model, model_names
from costsim.architectures.releases import releases
from costsim.cli import main
from costsim.cli.models import entry_of
from costsim.resources import data_folder


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["models", *arguments]) == 0
    return capsys.readouterr().out


def test_the_list_is_the_same_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    table = _run(capsys).splitlines()
    entries = json.loads(_run(capsys, "--format", "json"))["models"]
    rows = list(csv.DictReader(io.StringIO(_run(capsys, "--format", "csv"))))
    assert [row.split()[0] for row in table[1:]] == list(model_names())
    assert [entry["name"] for entry in entries] == [row["name"] for row in rows]
    assert [str(entry["parameters"]) for entry in entries] == [row["parameters"] for row in rows]
    assert all(entry["source"] for entry in entries)


@pytest.mark.parametrize("name", ["gpt3", "llama-3-70b", "opt-350m"])
def test_a_description(capsys: pytest.CaptureFixture[str], golden, name: str) -> None:
    golden(f"models_{name}.txt", _run(capsys, name))


def test_blocks_add_up_to_the_totals(capsys: pytest.CaptureFixture[str]) -> None:
    model = json.loads(_run(capsys, "palm", "--format", "json"))["model"]
    assert sum(block["parameters"] for block in model["blocks"]) == model["parameters"]
    flops = sum(block["forward_flops"] for block in model["blocks"])
    assert flops == load_model("palm").forward_flops(1, 2048)
    rows = list(csv.DictReader(io.StringIO(_run(capsys, "palm", "--format", "csv"))))
    assert [row["name"] for row in rows] == [block["name"] for block in model["blocks"]]


def test_a_file_is_described_with_its_notes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "n_layer": 3, "novelty": 1}')
    text = _run(capsys, str(tmp_path))
    assert "not understood, taken to change nothing that is counted: novelty" in " ".join(
        text.split()
    )
    assert str(tmp_path) in text.replace("\n", "")


def test_a_misspelt_model_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "lama-2-70b"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "did you mean `llama-2-70b`" in output.err


def test_the_index_is_what_the_models_give() -> None:
    """`python .ci/model_index.py` renews it."""
    index = json.loads((data_folder("scenarios") / "models" / "index.json").read_text("utf-8"))
    found = {name: entry_of(load_model(name)) for name in model_names()}
    assert index == {name: entry for name, entry in found.items() if name in index}
    assert len(index) > 0.95 * len(found)  # one that is missing is counted when it is listed


def test_releases_are_listed_apart(capsys: pytest.CaptureFixture[str]) -> None:
    table = _run(capsys, "--releases").splitlines()
    listed = json.loads(_run(capsys, "--releases", "--format", "json"))["releases"]
    assert [row.split()[0] for row in table[1:]] == [entry["name"] for entry in listed]
    assert {entry["name"] for entry in listed} == {one.name for one in releases().values()}
    assert main(["models", "gpt2", "--releases"]) == 2


@pytest.mark.parametrize(
    "command",
    [
        ("models",),
        ("estimate", "--hardware", "h100"),
        ("explain",),
        ("compress", "--recipe", "awq-int4"),
    ],
    ids=lambda command: command[0],
)
def test_every_command_says_what_was_taken_for_granted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "config.json").write_text(
        '{"model_type": "llama", "hidden_size": 256, "num_hidden_layers": 2,'
        ' "intermediate_size": 512, "vocab_size": 100, "max_position_embeddings": 128,'
        ' "num_attention_heads": 4, "num_key_value_heads": 2, "novelty": 1}'
    )
    name, *options = command
    assert main([name, str(tmp_path), *options, "--format", "json"]) == 0
    said = capsys.readouterr()
    text = "not understood, taken to change nothing that is counted: novelty"
    assert text in " ".join(said.err.split())
    assert text in said.out
