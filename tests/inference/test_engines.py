"""Engines by release: what a version, a vendor and a small device change, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from costsim.errors import SpecError, UnknownNameError
from costsim.inference.engines import engine_names, load_engine, profile_names, usual_acceptance


@pytest.mark.parametrize("name", engine_names())
def test_every_engine_has_all_of_its_values(name: str) -> None:
    engine = load_engine(name)
    assert engine.kernel_ratio > 0
    assert engine.profile in profile_names()


@pytest.mark.parametrize(
    ("name", "version", "profile"),
    [
        ("vllm", "", "vllm"),
        ("vllm/0.11.0", "", "vllm-0.11"),
        ("vllm", "2024-07", "vllm-v0"),
        ("trtllm/1.0.0rc3", "", "tensorrt-llm-1.0"),
        ("trtllm", "0.10", "tensorrt-llm-0"),
        ("ollama", "2025", "llama.cpp"),
    ],
)
def test_a_release_is_found_by_its_version(name: str, version: str, profile: str) -> None:
    assert load_engine(name, version).profile == profile


def test_a_vendor_and_a_small_device_change_what_they_change() -> None:
    old = load_engine("vllm", "0.5", vendor="AMD")
    assert not old.grouped_attention
    assert load_engine("vllm", "0.6.3", vendor="AMD").grouped_attention
    assert load_engine("vllm", "0.18", vendor="AMD") == load_engine("vllm", "0.18")
    # vllm/engine/arg_utils.py: devices below 70 GiB take 2,048 tokens and 256 requests a step.
    small = load_engine("vllm", memory_bytes=24e9)
    assert (small.max_batched_tokens, small.max_sequences) == (2048, 256)
    assert load_engine("vllm", memory_bytes=80 * 2**30).max_batched_tokens == 8192


def test_what_cannot_be_set_is_refused_all_at_once() -> None:
    engine = load_engine("vllm").launched(max_sequences=64, memory_ratio=0.8)
    assert (engine.max_sequences, engine.memory_ratio) == (64, 0.8)
    with pytest.raises(SpecError, match=r"memory_ratio must lie.*unknown setting `speed`"):
        engine.launched(memory_ratio=1.5, speed=3)
    with pytest.raises(UnknownNameError, match="unknown engine"):
        load_engine("vlm")


def test_usual_acceptance_is_that_of_measured_drafts(shared: Path) -> None:
    rows = (shared / "validation/traces/spec_decode_acceptance.csv").read_text().splitlines()[1:]
    by: dict[int, list[float]] = {}
    for row in rows:
        cells = row.split(",")
        by.setdefault(int(cells[3]), []).append(float(cells[4]))
    for tokens, found in by.items():
        median = sorted(found)[len(found) // 2]
        assert usual_acceptance(tokens) == pytest.approx(median, rel=0.12)
