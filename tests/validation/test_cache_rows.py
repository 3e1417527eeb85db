"""Cache sizes as engines log them: the definition, by hand, and rows of logs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import costsim
from costsim.architectures import load_model
from costsim.hardware import load_hardware
from costsim.inference.engines import load_engine
from costsim.inference.layout import Layout, Layouts, Quantization
from costsim.inference.memory import activation_bytes, cache_budget, kv_cache
from costsim.reporting import render
from costsim.reporting.plans import plan_report
from costsim.validation.score import validate

ONE = Layouts.of([Layout()])


def test_the_logged_figures_by_hand() -> None:
    """Llama 3.1 8B: 2 · 8 heads · 128 · 32 layers · 2 bytes = 131,072 bytes a token."""
    system, model = load_hardware("h100"), load_model("llama-3.1-8b")
    engine = load_engine("vllm/0.11.0", memory_bytes=8e10)
    cache = kv_cache(system, model, ONE, Quantization(), engine, 8000)
    budget = cache_budget(system, model, ONE, Quantization(), engine)[0]
    assert cache.bytes_per_device == budget
    assert cache.concurrency == pytest.approx(budget / (131_072 * 8000))
    assert cache.tokens == math.floor(budget / (131_072 * 8000) * 8000)
    assert cache.logged == (
        f"GPU KV cache size: {cache.tokens:,} tokens",
        f"Maximum concurrency for 8,000 tokens per request: {cache.tokens / 8000:.2f}x",
    )
    assert cache.longest_tokens == 131_072  # as far as it has positions


def test_the_longest_context_is_the_longest_that_fits() -> None:
    system, model = load_hardware("l4"), load_model("llama-3.1-8b")
    engine = load_engine("vllm/0.11.0", memory_bytes=2.4e10)
    cache = kv_cache(system, model, ONE, Quantization(), engine, 4096)
    block = engine.block_tokens
    blocks = cache.bytes_per_device // (131_072 * block)
    assert cache.longest_tokens == blocks * block < 131_072


def test_activations_of_a_step_as_vllm_logged_them() -> None:
    """2.07 GiB of a prompt of 20,000 tokens (vllm-project/vllm issue 10517), Llama 3.1 8B."""
    engine = load_engine("vllm/0.6").launched(max_batched_tokens=20_000)
    found = activation_bytes(load_model("llama-3.1-8b"), ONE, engine)[0] / 2**30
    assert found == pytest.approx(2.07, rel=0.05)


def test_the_report_says_what_the_engine_will_log() -> None:
    plan = costsim.plan(
        {
            "name": "a service",
            "model": "llama-3.1-8b",
            "workload": {
                "kind": "inference",
                "requests_per_s": 2,
                "input_tokens": 1000,
                "output_tokens": 200,
            },
            "hardware": {"system": "h100"},
        }
    )
    found: dict[str, Any] = plan.to_dict()["best"]["kv_cache"]
    assert found["request_tokens"] == 1280
    assert found["tokens"] == int(found["maximum_concurrency"] * 1280)
    text = render(plan_report(plan), "markdown")
    assert f"GPU KV cache size: {found['tokens']:,} tokens" in text
    assert "Maximum concurrency for 1,280 tokens per request" in text


def test_logs_of_vllm(shared: Path) -> None:
    """By row: dense within 2 %, mixtures within 8 % at the median."""
    found = validate(shared / "validation" / "kv_cache_logs.csv")
    errors: dict[bool, dict[str, float]] = {True: {}, False: {}}
    for entry in found.entries:
        if entry.measured:
            routed = entry.run.id in ("kv07", "kv09", "kv17")
            error = abs(float(entry.predicted or 0) / entry.measured - 1)
            errors[routed].setdefault(entry.run.id, error)
    assert len(errors[True]) + len(errors[False]) == 8
    assert np.median(list(errors[False].values())) <= 0.02
    assert np.median(list(errors[True].values())) <= 0.08


def test_what_is_missing_in_a_row_is_said(tmp_path: Path) -> None:
    path = tmp_path / "kv.csv"
    header = "id,model,accelerator_id,tp,weights,kv_tokens,max_model_len\n"
    path.write_text(header + "a,nobody/nothing,nvidia-l4,1,bf16,100,4096\n", encoding="utf-8")
    found = validate(path)
    assert {entry.status for entry in found.entries} == {"unsupported"}
    assert "unknown model" in found.entries[0].reason
