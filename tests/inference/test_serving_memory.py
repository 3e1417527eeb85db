"""Memory of a replica against an engine's own arithmetic and against exact totals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim import load_hardware, load_model
from costsim.inference.engines import engine_names, load_engine
from costsim.inference.layout import Layout, Layouts, Quantization
from costsim.inference.memory import (
    MemoryBudget,
    cache_budget,
    cache_bytes,
    request_slots,
    weight_bytes,
)

GIB = 2.0**30


def test_a_budget_is_what_vllm_prints_at_start_up() -> None:
    # "the current vLLM instance can use total_gpu_memory (79.32GiB) x gpu_memory_utilization
    # (0.80) = 63.45GiB; model weights take 15.53GiB; non_torch_memory takes 0.09GiB; PyTorch
    # activation peak memory takes 1.72GiB; the rest of the memory reserved for KV Cache is
    # 46.11GiB."
    found = MemoryBudget(79.32 * GIB, 0.80, 15.53 * GIB, 0.09 * GIB, 1.72 * GIB)
    assert found.total_bytes * found.memory_ratio / GIB == pytest.approx(63.45, abs=0.01)
    assert found.cache_bytes / GIB == pytest.approx(46.11, abs=0.01)
    assert found.fits
    # A block of 16 positions of Llama 3 8B in 16 bits: 2 MiB.
    assert found.blocks(16 * 131_072) == int(found.cache_bytes // (16 * 131_072))


def test_a_share_of_what_is_free_is_less_than_the_same_share_of_all() -> None:
    total = MemoryBudget(80e9, 0.9, 20e9, 1e9, 2e9, "total")
    free = MemoryBudget(80e9, 0.9, 20e9, 1e9, 2e9, "free")
    assert total.cache_bytes == pytest.approx(49e9)
    assert free.cache_bytes == pytest.approx(0.9 * 57e9)
    assert not MemoryBudget(16e9, 0.9, 20e9, 1e9, 2e9).fits


@pytest.mark.parametrize("name", ["llama3-8b", "llama3-70b"])
def test_weights_and_cache_on_one_device_are_those_of_the_model(name: str) -> None:
    model, one = load_model(name), Layouts.of([Layout()])
    assert weight_bytes(model, one, Quantization())[0] == pytest.approx(2 * model.parameters)
    tokens = np.array([4096.0])
    held = cache_bytes(model, one, Quantization(), tokens)[0]
    assert held == pytest.approx(model.cache_bytes(1, 4096, "bf16"))
    assert cache_bytes(model, one, Quantization(cache="fp8"), tokens)[0] == pytest.approx(held / 2)


def test_heads_of_the_cache_divide_only_as_far_as_there_are_any() -> None:
    model = load_model("llama3-8b")  # 8 heads of keys and values
    layouts = Layouts.of([Layout(tp=tp, moe_tp=tp) for tp in (1, 2, 8, 16)])
    held = cache_bytes(model, layouts, Quantization(), np.array([1000.0]))
    assert held / held[0] == pytest.approx([1, 1 / 2, 1 / 8, 1 / 8])


@given(st.sampled_from(engine_names()), st.integers(1, 3), st.floats(64, 30_000))
def test_more_devices_never_hold_fewer_requests(engine: str, doublings: int, tokens: float) -> None:
    model, system = load_model("llama3-70b"), load_hardware("h100")
    layouts = Layouts.of([Layout(tp=2**k, moe_tp=2**k) for k in (doublings - 1, doublings)])
    slots = request_slots(
        system, model, layouts, Quantization(), load_engine(engine), np.full(2, tokens)
    )
    assert slots[1] >= slots[0] >= 0


def test_weights_beyond_a_device_leave_no_budget() -> None:
    model, system = load_model("llama3-70b"), load_hardware("h100")
    layouts = Layouts.of([Layout(), Layout(tp=4, moe_tp=4)])
    budget = cache_budget(system, model, layouts, Quantization(), load_engine("vllm"))
    assert budget[0] < 0 < budget[1]
    slots = request_slots(
        system, model, layouts, Quantization(), load_engine("vllm"), np.full(2, 100.0)
    )
    assert slots[0] == 0
