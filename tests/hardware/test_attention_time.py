"""Times of attention: measured shapes, the mask's pairs by brute force, and laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.errors import UnknownNameError
from costsim.hardware import load_accelerator
from costsim.hardware.attention import attention_pairs, attention_time_s
from costsim.hardware.decode import decode_attention_time_s, latent_attention_time_s
from costsim.hardware.kernels import load_kernel_model
from measured_kernels import errors_of, excerpt

A100 = load_kernel_model(load_accelerator("nvidia-a100-sxm4-80gb"))
H100 = load_kernel_model(load_accelerator("nvidia-h100-sxm5-80gb"))
MODELS = (A100, H100, load_kernel_model(load_accelerator("amd-mi300x")))


def test_held_out_prefill_is_timed_closely() -> None:
    ratios = []
    for accelerator, dtype, rows in excerpt("prefill"):
        model = load_kernel_model(load_accelerator(accelerator))
        shape = (rows["batch"], rows["heads"], rows["kv_heads"], rows["q_len"], rows["q_len"])
        time_s = attention_time_s(model, *shape, rows["head_dim"], dtype=dtype)
        ratios.append(time_s / rows.time_s)
    assert errors_of(ratios) <= 0.15


def test_held_out_decode_is_timed_closely() -> None:
    ratios = []
    for accelerator, dtype, rows in excerpt("decode"):
        model = load_kernel_model(load_accelerator(accelerator))
        shape = (rows["batch"], rows["heads"], rows["kv_heads"], rows["context"], rows["head_dim"])
        time_s = decode_attention_time_s(model, *shape, cache_dtype=dtype, warm_cache=True)
        ratios.append(time_s / rows.time_s)
    assert errors_of(ratios) <= 0.12


@given(
    queries=st.integers(1, 40),
    prefix=st.integers(0, 40),
    window=st.none() | st.integers(1, 90),
    causal=st.booleans(),
)
def test_pairs_equal_the_mask_counted(
    queries: int, prefix: int, window: int | None, causal: bool
) -> None:
    keys = queries + prefix
    q, k = np.arange(prefix, keys)[:, None], np.arange(keys)[None, :]
    if causal:
        mask = k <= q
        if window is not None:
            mask &= k > q - window
        count = mask.sum()
    else:
        count = queries * min(keys, window or keys)
    assert attention_pairs(queries, keys, causal, window) == count


@given(
    batch=st.integers(1, 64),
    groups=st.integers(1, 16),
    ratio=st.integers(1, 8),
    tokens=st.integers(1, 30_000),
    dim=st.sampled_from([64, 96, 128, 256]),
    factor=st.floats(1, 3),
)
def test_attention_laws(batch, groups, ratio, tokens, dim, factor) -> None:
    heads = groups * ratio
    for model in MODELS:
        shape = (batch, heads, groups, tokens, tokens, dim)
        time_s = attention_time_s(model, *shape)
        flops = 4.0 * batch * heads * dim * tokens * (tokens + 1) / 2
        assert time_s >= flops / model.peak_flops_per_s("bf16")
        longer = np.ceil(tokens * factor)
        assert attention_time_s(model, batch, heads, groups, longer, longer, dim) >= time_s
        assert attention_time_s(model, *shape, causal=False) >= time_s * (1 - 1e-12)
        assert attention_time_s(model, *shape, window=min(tokens, 128)) <= time_s * (1 + 1e-12)
        backward_s = attention_time_s(model, *shape, direction="backward")
        assert time_s < backward_s <= 3.5 * time_s


@given(
    batch=st.integers(1, 512),
    groups=st.integers(1, 16),
    ratio=st.integers(1, 16),
    context=st.integers(1, 200_000),
    factor=st.floats(1, 3),
)
def test_decode_laws(batch, groups, ratio, context, factor) -> None:
    for model in MODELS:
        shape = (batch, groups * ratio, groups)
        time_s = decode_attention_time_s(model, *shape, context, 128)
        cache_bytes = batch * groups * context * 2 * 128 * 2
        assert time_s >= cache_bytes / model.bandwidth_bytes_per_s
        assert decode_attention_time_s(model, *shape, np.ceil(context * factor), 128) >= time_s
        more = np.ceil(batch * factor)
        assert decode_attention_time_s(model, more, *shape[1:], context, 128) >= time_s * (
            1 - 1e-12
        )
        assert decode_attention_time_s(model, *shape, context, 128, window=64) <= time_s


def test_backward_on_a100_matches_the_published_rate() -> None:
    """FlashAttention-2 reports up to 73 % of the peak forward and 63 % backward on A100."""
    shape = (8, 16, 16, 16_384, 16_384, 128)
    flops = 4.0 * 8 * 16 * 128 * 16_384 * 16_385 / 2
    forward = flops / attention_time_s(A100, *shape) / 312e12
    backward = 2.5 * flops / attention_time_s(A100, *shape, direction="backward") / 312e12
    assert 0.5 <= forward <= 0.73
    assert backward / forward == pytest.approx(0.63 / 0.73, rel=0.02)


def test_unfused_attention_is_bound_by_its_scores() -> None:
    """GPT-3's shape on A100: masked softmax and dropout move 9 bytes a score forward."""
    shape = (1, 12, 12, 2048, 2048, 128)
    unfused_s = attention_time_s(A100, *shape, implementation="unfused", dropout=True)
    assert unfused_s >= 12 * 2048**2 * 9 / A100.bandwidth_bytes_per_s
    assert unfused_s > attention_time_s(A100, *shape)
    backward_s = attention_time_s(
        A100, *shape, implementation="unfused", dropout=True, direction="backward"
    )
    assert unfused_s < backward_s < 3 * unfused_s


def test_latent_attention_reads_one_vector_for_all_heads() -> None:
    few = latent_attention_time_s(H100, 64, 16, 8192, 512, 64)
    many = latent_attention_time_s(H100, 64, 128, 8192, 512, 64)
    assert 64 * 8192 * 576 * 2 / H100.bandwidth_bytes_per_s <= few < many
    assert few < decode_attention_time_s(H100, 64, 128, 8, 8192, 128)


def test_an_unknown_cache_format_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="int3"):
        decode_attention_time_s(H100, 1, 1, 1, 1, 64, cache_dtype="int3")
