"""Times of routed experts and of moving tokens to them: counts by simulation, laws, measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.errors import UnknownNameError
from costsim.hardware import load_accelerator, load_hardware
from costsim.hardware.experts import distinct_targets, expert_exchange_time_s
from costsim.hardware.grouped import grouped_gemm_time_s, power_law_imbalance, touched_experts
from costsim.hardware.kernels import load_kernel_model

H100 = load_kernel_model(load_accelerator("nvidia-h100-sxm5-80gb"))
B200 = load_kernel_model(load_accelerator("nvidia-b200-sxm-180gb"))
CLUSTER = load_hardware("dgx-h100", 64)
DEEPSEEK = {"experts": 256, "top_k": 8, "hidden": 7168, "intermediate": 2048}


def time_s(model, tokens, ranks=8, dtype="fp8_block", **options):
    shape = DEEPSEEK | options
    imbalance = shape.pop("imbalance", 1.0)
    return grouped_gemm_time_s(
        model,
        tokens,
        shape["experts"],
        shape["top_k"],
        ranks,
        shape["hidden"],
        shape["intermediate"],
        dtype,
        imbalance,
        shape.get("resident_tokens"),
    )


def test_touched_experts_and_targets_equal_a_simulation() -> None:
    draw = np.random.default_rng(0)
    tokens, experts, top_k, ranks, trials = 24, 64, 4, 8, 4000
    touched = 0
    for _ in range(trials):
        chosen = draw.permuted(np.tile(np.arange(experts), (tokens, 1)), axis=1)[:, :top_k]
        touched += len(set(chosen.ravel()) & set(range(experts // ranks)))
    expected = touched_experts(tokens, experts, top_k, ranks)
    assert touched / trials == pytest.approx(expected, rel=0.02)
    draws = draw.integers(0, 8, (40_000, 6))
    distinct = np.mean([len(set(row)) for row in draws])
    assert distinct_targets(6, 8) == pytest.approx(distinct, rel=0.01)


@given(
    tokens=st.integers(1, 100_000),
    factor=st.floats(1, 4),
    ranks=st.sampled_from([1, 8, 32]),
    dtype=st.sampled_from(["bf16", "fp8", "fp8_block"]),
)
def test_expert_laws(tokens: int, factor: float, ranks: int, dtype: str) -> None:
    for model in (H100, B200):
        one = time_s(model, tokens, ranks, dtype)
        flops = 6.0 * tokens * 8 / ranks * 7168 * 2048
        assert one >= flops / model.peak_flops_per_s(dtype)
        assert time_s(model, np.ceil(tokens * factor), ranks, dtype) >= one
        assert time_s(model, tokens, ranks, dtype, imbalance=factor) >= one
        assert time_s(model, tokens, ranks, dtype, resident_tokens=0) <= one


def test_deepseek_on_h100_streams_its_touched_experts() -> None:
    """aiconfigurator: fp8 blocks, 8 ranks, 128 tokens stream what is touched at 0.85 of HBM."""
    weights = touched_experts(128, 256, 8, 8) * 3 * 7168 * 2048
    assert time_s(H100, 128) == pytest.approx(weights / (0.85 * 3.35e12), rel=0.25)


def test_power_law_imbalance_is_near_the_measured_one() -> None:
    """Medians of the measured tables above 4,096 tokens: 1.28, 1.44, 1.67, 1.9, 2.15."""
    measured = np.array([1.28, 1.44, 1.67, 1.9, 2.15])
    assert power_law_imbalance(1) == 1
    assert power_law_imbalance(2 ** np.arange(1, 6)) == pytest.approx(measured, rel=0.06)


def test_formats_without_a_measurement_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="bf15"):
        time_s(H100, 1, dtype="bf15")


def test_dispatch_is_near_a_measured_one() -> None:
    """DeepEP on 8 H100, 20 SMs, 4,096 tokens of 7,168 fp8 to 8 of 256 experts."""
    times = expert_exchange_time_s(
        CLUSTER, "dispatch", 4096, 7168, 8, np.array([1, 8, 16, 64]), element_bytes=1.03
    )
    assert times[0] == 0
    assert times[2] == pytest.approx(844e-6, rel=0.3)  # two nodes, measured
    assert times[3] == pytest.approx(5516e-6, rel=0.3)  # eight nodes, measured
    assert np.all(np.diff(times) > 0)


@given(
    tokens=st.floats(1, 1e5),
    top_k=st.integers(1, 16),
    group=st.sampled_from([2, 8, 16, 64]),
    units=st.floats(1, 132),
)
def test_exchange_laws(tokens: float, top_k: int, group: int, units: float) -> None:
    def cost(**options) -> float:
        values = {"tokens": tokens, "top_k": top_k, "units": units} | options
        tokens_, choices, units_ = (values[name] for name in ("tokens", "top_k", "units"))
        return expert_exchange_time_s(
            CLUSTER, "combine", tokens_, 4096, choices, group, element_bytes=2, units=units_
        )

    assert cost(tokens=tokens * 2) > cost()
    assert cost(top_k=top_k + 1) >= cost()
    assert cost(units=units * 2) <= cost()
