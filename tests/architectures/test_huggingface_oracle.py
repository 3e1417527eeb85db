"""Every figure that PyTorch and transformers give for dense decoders is met exactly."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from costsim.architectures import Architecture, load_model
from costsim.architectures.huggingface import READERS

DECODERS = {"bloom", "gpt2", "gpt_neox", "llama", "mistral", "opt", "qwen2", "qwen3"}
EXCERPT = Path(__file__).resolve().parent.parent / "data" / "lm_oracle_excerpt.json"


def _differences(model: Architecture, row: Mapping[str, Any]) -> list[str]:
    found: list[str] = []

    def compare(figure: str, ours: int, theirs: str) -> None:
        if theirs and ours != int(float(theirs)):
            found.append(f"{model.name}: {figure} is {ours}, PyTorch says {theirs}")

    compare("parameters", model.parameters, row["total_params"])
    compare("embedding parameters", model.embedding_parameters, row["embedding_params"])
    compare("active parameters", model.active_parameters, row.get("active_params", ""))
    for shape in ("fwd1", "fwd2"):
        batch, sequence = (int(part[1:]) for part in row[f"{shape}_shape"].split("_"))
        compare(shape, model.forward_flops(batch, sequence), row[f"{shape}_flops"])
        if shape == "fwd1":
            ours = model.training_flops(batch, sequence)
            compare("forward and backward", ours, row.get("fwdbwd1_flops", ""))
    for index in (1, 2, 3):
        past = row.get(f"decode{index}_past")
        if past:
            ours = model.decode_flops(1, int(float(past)))
            compare(f"decode after {past}", ours, row[f"decode{index}_flops"])
    for entry in row["cache_at"].split(";"):
        tokens, sizes = entry.split("=")
        elements, size = sizes.split("/")
        compare(f"cache after {tokens}", model.cache_bytes(1, int(tokens)), size)
        compare(
            f"cache elements after {tokens}", model.cache_bytes(1, int(tokens), "int8"), elements
        )
    return found


@pytest.mark.parametrize(
    "row", json.loads(EXCERPT.read_text())["rows"], ids=lambda row: row["name"]
)
@pytest.mark.parametrize("spelling", ["lm_configs", "lm_configs_short"])
def test_excerpt_of_the_oracle(row: dict[str, Any], spelling: str) -> None:
    if spelling not in row:
        pytest.skip("library defaults are written in one spelling only")
    assert _differences(load_model(row[spelling]), row) == []


def test_excerpt_covers_every_dense_decoder() -> None:
    rows = json.loads(EXCERPT.read_text())["rows"]
    assert {row["model_type"] for row in rows} == DECODERS <= set(READERS)


def test_every_dense_decoder_of_the_oracle(shared: Path) -> None:
    oracle = shared / "validation" / "oracle"
    csv.field_size_limit(1_000_000)
    found: list[str] = []
    read = 0
    with (oracle / "lm_oracle.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            if row["model_type"] not in DECODERS or row["status"] != "ok":
                continue
            for spelling in ("lm_configs", "lm_configs_short"):
                folder = oracle / spelling / row["name"]
                if folder.is_dir():
                    read += 1
                    found += _differences(load_model(folder), row)
    assert read >= 2 * len(DECODERS)
    assert found == []
