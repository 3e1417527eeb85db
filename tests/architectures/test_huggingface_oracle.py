"""Every figure that PyTorch and transformers give for dense decoders is met exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from architectures.language_oracle import differences, oracle_rows
from costsim.architectures import load_model
from costsim.architectures.huggingface import READERS

DECODERS = {"bloom", "gpt2", "gpt_neox", "llama", "mistral", "opt", "qwen2", "qwen3"}
EXCERPT = Path(__file__).resolve().parent.parent / "data" / "lm_oracle_excerpt.json"


@pytest.mark.parametrize(
    "row", json.loads(EXCERPT.read_text())["rows"], ids=lambda row: row["name"]
)
@pytest.mark.parametrize("spelling", ["lm_configs", "lm_configs_short"])
def test_excerpt_of_the_oracle(row: dict[str, Any], spelling: str) -> None:
    if spelling not in row:
        pytest.skip("library defaults are written in one spelling only")
    assert differences(load_model(row[spelling]), row) == []


def test_excerpt_covers_every_dense_decoder() -> None:
    rows = json.loads(EXCERPT.read_text())["rows"]
    assert {row["model_type"] for row in rows} == DECODERS <= set(READERS)


def test_every_dense_decoder_of_the_oracle(shared: Path) -> None:
    rows = list(
        oracle_rows(shared, lambda row: row["model_type"] in DECODERS and row["status"] == "ok")
    )
    assert len(rows) >= 2 * len(DECODERS)
    assert [line for row, model in rows for line in differences(model, row)] == []
