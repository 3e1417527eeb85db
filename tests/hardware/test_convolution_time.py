"""Convolutions on a device: never under the roofline, depthwise ones bound by memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.architectures import load_model
from costsim.architectures.operators import Convolution
from costsim.architectures.workload import FUSED, Workload
from costsim.hardware.blocks import Formats, block_times
from costsim.hardware.catalog import load_accelerator
from costsim.hardware.convolution import convolution_time_s
from costsim.hardware.gemm import gemm_time_s
from costsim.hardware.kernels import load_kernel_model

A100 = load_kernel_model(load_accelerator("nvidia-a100-sxm4-80gb"))


def _time(operator: Convolution, direction: str = "forward") -> float:
    return sum(
        float(convolution_time_s(A100, w.m, w.n, w.k, "bf16", w.count, w.read, w.elements))
        for w in operator.work(direction, FUSED)  # type: ignore[arg-type]
    )


def _convolution(batch: int, side: int, inputs: int, outputs: int, kernel: int, groups: int = 1):
    return Convolution(
        name="c",
        source="x",
        batch=batch,
        sizes=(side, side),
        inputs=inputs,
        outputs=outputs,
        kernel=(kernel, kernel),
        stride=(1, 1),
        padded=(kernel - 1, kernel - 1),
        dilation=(1, 1),
        groups=groups,
    )


@given(
    st.integers(1, 64),
    st.integers(7, 112),
    st.sampled_from([16, 64, 256]),
    st.sampled_from([1, 3, 5]),
    st.booleans(),
)
def test_time_is_never_under_the_roofline(
    batch: int, side: int, channels: int, kernel: int, depthwise: bool
) -> None:
    operator = _convolution(batch, side, channels, channels, kernel, channels if depthwise else 1)
    (work,) = operator.work("forward", FUSED)
    time_s = _time(operator)
    assert time_s >= work.flops / A100.peak_flops_per_s("bf16")
    assert time_s >= 0.99 * work.elements * 2 / A100.bandwidth_bytes_per_s
    assert _time(operator, "backward") > time_s


def test_a_1x1_convolution_is_the_product_that_it_is() -> None:
    operator = _convolution(32, 28, 256, 512, 1)
    product = float(gemm_time_s(A100, 32 * 28 * 28, 512, 256, "bf16"))
    assert _time(operator) == pytest.approx(product)


def test_overlapping_windows_are_read_once() -> None:
    operator = _convolution(64, 56, 64, 64, 3)
    windows = float(gemm_time_s(A100, 64 * 56 * 56, 64, 64 * 9, "bf16"))
    assert _time(operator) < windows


def test_depthwise_convolutions_are_bound_by_memory() -> None:
    depthwise = _convolution(64, 112, 96, 96, 3, groups=96)
    (work,) = depthwise.work("forward", FUSED)
    streamed_s = 2 * work.elements / A100.bandwidth_bytes_per_s
    assert streamed_s < _time(depthwise) < 2 * streamed_s + 2e-5
    # far from the rate of matrix units
    assert work.flops / _time(depthwise) < 0.1 * A100.peak_flops_per_s("bf16")


def test_columns_of_batches_take_longer_and_longer() -> None:
    batches = np.array([1.0, 8.0, 64.0, 256.0])
    model = load_model("mobilenet-v2")
    formats = Formats("bf16", "bf16", 2.0)
    times = block_times(A100, model.blocks(Workload(batches)), 4, FUSED, formats)
    forward, backward = times.total_s[0].sum(axis=0), times.total_s[1].sum(axis=0)
    assert np.all(np.diff(forward) > 0)
    assert np.all(backward > forward)
    single = block_times(A100, model.blocks(Workload(64)), 1, FUSED, formats)
    assert single.total_s[0].sum() == pytest.approx(forward[2])
