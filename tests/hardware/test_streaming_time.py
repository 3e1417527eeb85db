"""Times of memory-bound kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.hardware import accelerator_ids, load_accelerator
from costsim.hardware.kernels import load_kernel_model
from costsim.hardware.streaming import streaming_time_s

KINDS = ("elementwise", "activation", "normalization", "rotary", "embedding", "softmax")
H100 = load_kernel_model(load_accelerator("nvidia-h100-sxm5-80gb"))


@pytest.mark.parametrize("accelerator", accelerator_ids())
def test_every_accelerator_streams_within_its_bandwidth(accelerator: str) -> None:
    model = load_kernel_model(load_accelerator(accelerator))
    for kind in KINDS:
        times = streaming_time_s(model, np.array([1e3, 1e6, 1e9, 1e12]), kind=kind)
        assert np.all(np.diff(times) > 0)
        assert np.all(times >= np.array([1e3, 1e6, 1e9, 1e12]) / model.bandwidth_bytes_per_s)


@given(moved=st.floats(1, 1e12), kernels=st.integers(1, 100))
def test_launches_add(moved: float, kernels: int) -> None:
    one = streaming_time_s(H100, moved)
    many = streaming_time_s(H100, moved, kernels)
    assert many == pytest.approx(one + (kernels - 1) * H100.streaming.launch_s, rel=1e-9)


def test_nothing_moved_takes_no_time() -> None:
    assert streaming_time_s(H100, 0.0, 5) == 0.0


def test_published_copies_of_the_residual_stream() -> None:
    """vidur@7d47513: adding two [4096, 8192] bf16 tensors takes 112.5 us on A100, 62.75 on H100."""
    moved = 3 * 2 * 4096 * 8192
    for name, time_s in (("nvidia-a100-sxm4-80gb", 112.5e-6), ("nvidia-h100-sxm5-80gb", 62.75e-6)):
        model = load_kernel_model(load_accelerator(name))
        assert streaming_time_s(model, moved) == pytest.approx(time_s, rel=0.12)
