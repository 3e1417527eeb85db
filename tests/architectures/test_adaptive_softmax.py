"""Transformer-XL: clusters of words, and a memory of the segment before."""

from __future__ import annotations

from pathlib import Path

import pytest

from costsim.architectures import load_model
from costsim.architectures.architecture import Architecture
from costsim.architectures.decoder import decoder
from costsim.errors import SpecError

SIZES = {"layers": 2, "hidden": 64, "heads": 4, "vocabulary": 1000, "bias": False}


def made(**fields: object) -> Architecture:
    return Architecture("mine", decoder(**SIZES, positions="relative", **fields), "test")  # type: ignore[arg-type]


def test_parameters_of_base_are_those_of_its_tables() -> None:
    layer = 3 * 512 * 512 + 2 * 512 * 512 + 2 * 512 * 2048 + 2048 + 512 + 4 * 512
    tables = 267735 * 512
    model = load_model("transformer-xl-base")
    assert model.parameters == pytest.approx(16 * layer + tables, rel=0.001)


def test_rarer_words_have_narrower_tables() -> None:
    plain, clustered = made(), made(clusters=[(200, 64), (800, 16)])
    # 800 words of 16 and not of 64, and a projection from 16 to 64.
    assert plain.parameters - clustered.parameters == 800 * (64 - 16) - 16 * 64


def test_the_head_scores_frequent_words_only() -> None:
    one, other = made(), made(clusters=[(200, 64), (800, 64)])
    tokens = 32
    saved = one.forward_flops(batch=1, sequence=tokens) - other.forward_flops(
        batch=1, sequence=tokens
    )
    assert saved == 2 * tokens * 64 * 800
    assert one.parameters == other.parameters


def test_a_memory_is_projected_and_attended() -> None:
    tokens, memory, hidden = 32, 16, 64
    without, remembering = made(), made(memory=memory)
    more = remembering.forward_flops(batch=1, sequence=tokens) - without.forward_flops(
        batch=1, sequence=tokens
    )
    projected = 2 * memory * hidden * 2 * hidden
    scored = 3 * 2 * tokens * memory * hidden  # contents, distances, values
    assert more == 2 * (projected + scored)
    assert remembering.parameters == without.parameters


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ("clusters: [[10, 8]]", "do not add up to"),
        ("clusters: [[100, 8]]\ntied: false", "leave `tied` true"),
        ("memory: 8", "only relative"),
    ],
)
def test_contradictions_are_told(tmp_path: Path, fields: str, says: str) -> None:
    file = tmp_path / "mine.yaml"
    shape = "layers: 1\nhidden: 8\nheads: 1\nvocabulary: 100\npositions: rotary\n"
    file.write_text(shape + fields + "\n")
    with pytest.raises(SpecError, match=says):
        load_model(file)
