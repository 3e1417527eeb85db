"""Times of matrix products: measured shapes, and the laws of a roofline."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.errors import UnknownNameError
from costsim.hardware import load_accelerator
from costsim.hardware.gemm import gemm_time_s
from costsim.hardware.kernels import FORMATS, load_kernel_model
from measured_kernels import errors_of, excerpt

A100 = load_kernel_model(load_accelerator("nvidia-a100-sxm4-80gb"))
H100 = load_kernel_model(load_accelerator("nvidia-h100-sxm5-80gb"))
B200 = load_kernel_model(load_accelerator("nvidia-b200-sxm-180gb"))
MI300X = load_kernel_model(load_accelerator("amd-mi300x"))
TPU = load_kernel_model(load_accelerator("google-tpu-v5p"))
CASES = [
    (A100, "bf16"),
    (A100, "w4a16"),
    (H100, "fp8"),
    (H100, "tf32"),
    (B200, "nvfp4"),
    (B200, "fp8_block"),
    (MI300X, "bf16"),
    (TPU, "bf16"),
]
DIMENSION = st.integers(1, 40_000)


@pytest.mark.parametrize(
    ("formats", "bound"), [(("bf16",), 0.08), (("fp8", "fp8_block", "nvfp4"), 0.11)]
)
def test_held_out_shapes_are_timed_closely(formats: tuple[str, ...], bound: float) -> None:
    ratios = []
    for accelerator, dtype, rows in excerpt("gemm"):
        if dtype in formats:
            model = load_kernel_model(load_accelerator(accelerator))
            ratios.append(gemm_time_s(model, rows["m"], rows["n"], rows["k"], dtype) / rows.time_s)
    assert errors_of(ratios) <= bound


@pytest.mark.parametrize(("model", "dtype"), CASES)
@given(m=DIMENSION, n=DIMENSION, k=DIMENSION, factor=st.floats(1.0, 3.0))
def test_time_never_falls_as_a_dimension_grows(model, dtype, m, n, k, factor) -> None:
    small = gemm_time_s(model, m, n, k, dtype)
    for larger in ((m * factor, n, k), (m, n * factor, k), (m, n, k * factor)):
        grown = np.ceil(np.array(larger))
        assert gemm_time_s(model, *grown, dtype) >= small * (1 - 1e-12)


@pytest.mark.parametrize(("model", "dtype"), CASES)
@given(m=DIMENSION, n=DIMENSION, k=DIMENSION, count=st.integers(1, 64))
def test_time_is_never_below_the_roofline(model, dtype, m, n, k, count) -> None:
    form = FORMATS[dtype]
    time_s = gemm_time_s(model, m, n, k, dtype, count)
    flops = 2.0 * m * n * k * count
    moved = count * (
        m * k * form.activation_bytes + n * k * form.weight_bytes + m * n * form.output_bytes
    )
    assert time_s >= flops / model.peak_flops_per_s(dtype)
    assert time_s >= moved / model.bandwidth_bytes_per_s


@given(m=st.integers(1, 20_000), n=DIMENSION, k=DIMENSION)
def test_one_row_more_never_costs_much_more_than_a_tile(m: int, n: int, k: int) -> None:
    """No cliff that a search can exploit: a tile of 64 rows is the worst a row can add."""
    one, more = gemm_time_s(H100, np.array([m, m + 1]), n, k, "bf16")
    tile = gemm_time_s(H100, m + 64 + 64, n, k, "bf16")
    assert one <= more <= tile * (1 + 1e-12)


@given(m=DIMENSION, n=DIMENSION, k=DIMENSION, count=st.integers(1, 64))
def test_one_batched_launch_beats_many(m: int, n: int, k: int, count: int) -> None:
    batched = gemm_time_s(A100, m, n, k, "bf16", count)
    assert batched <= count * gemm_time_s(A100, m, n, k, "bf16") * (1 + 1e-9)


def test_dimensions_broadcast() -> None:
    m, n = np.array([1, 512, 4096])[:, None], np.array([1024, 8192])
    times = gemm_time_s(H100, m, n, 4096, "bf16")
    assert times.shape == (3, 2)
    assert times[1, 1] == gemm_time_s(H100, 512, 8192, 4096, "bf16")


def test_weight_only_formats_read_less_and_compute_alike() -> None:
    decode, prefill = 1, 8192
    assert gemm_time_s(A100, decode, 8192, 8192, "w4a16") < 0.6 * gemm_time_s(
        A100, decode, 8192, 8192, "bf16"
    )
    assert gemm_time_s(A100, prefill, 8192, 8192, "w4a16") > 0.9 * gemm_time_s(
        A100, prefill, 8192, 8192, "bf16"
    )


def test_an_unknown_format_or_rate_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="bf15"):
        gemm_time_s(H100, 1, 1, 1, "bf15")
    with pytest.raises(UnknownNameError, match="fp8"):
        gemm_time_s(A100, 1, 1, 1, "fp8")
