"""Time of attention of one or a few query tokens over a cache, bound by reading the cache."""

from __future__ import annotations

import numpy as np

from costsim.errors import UnknownNameError
from costsim.hardware.calibration import DecodeConstants
from costsim.hardware.kernels import Array, KernelModel, Number, column, soft_maximum

CACHE_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "fp32": 4.0}


def decode_attention_time_s(
    model: KernelModel,
    batch: Number,
    query_heads: Number,
    kv_heads: Number,
    context_tokens: Number,
    head_dim: Number,
    value_dim: Number | None = None,
    cache_dtype: str = "bf16",
    window: Number | None = None,
    query_tokens: Number = 1,
    *,
    warm_cache: bool = False,
) -> Array:
    """Return the time of one layer's decode attention in seconds, projections apart.

    t = launch + combine + ((cache bytes)ᵖ + (products)ᵖ + (blocks)ᵖ)^(1/p). The context is split
    among compute units, but only into so many parts: few sequences with few heads cannot draw the
    whole bandwidth.

    Args:
        model: of the accelerator.
        batch: sequences; all dimensions broadcast with each other.
        query_heads: heads of queries on this device.
        kv_heads: heads in the cache on this device.
        context_tokens: of each sequence, the new token included.
        head_dim: of keys.
        value_dim: of values; None = as head_dim.
        cache_dtype: "bf16", "fp16", "fp8" or "fp32".
        window: positions that a token sees.
        query_tokens: new tokens of a sequence (speculation, short extensions).
        warm_cache: whether a context that fits the last-level cache is there, as in a benchmark.

    Raises:
        UnknownNameError: if the cache format is unknown.
    """
    dim = column(head_dim)
    values = dim if value_dim is None else column(value_dim)
    family = "fp8" if cache_dtype == "fp8" else "bf16"
    return _time_s(
        model,
        model.decode[family],
        batch=column(batch),
        query_rows=column(query_heads) * column(query_tokens),
        kv_heads=column(kv_heads),
        context=_visible(context_tokens, window),
        cached_dim=dim + values,
        product_dim=dim + values,
        cache_bytes=_element_bytes(cache_dtype),
        warm_cache=warm_cache,
    )


def latent_attention_time_s(
    model: KernelModel,
    batch: Number,
    query_heads: Number,
    context_tokens: Number,
    latent_dim: Number,
    rotary_dim: Number,
    cache_dtype: str = "bf16",
    window: Number | None = None,
    query_tokens: Number = 1,
    *,
    warm_cache: bool = False,
) -> Array:
    """Return the time of multi-head latent attention over its compressed cache, in seconds.

    The cache holds one vector of `latent_dim + rotary_dim` a token for all heads; scores use all of
    it, outputs its latent part (the absorbed form). The absorbing projections are apart.

    Args:
        model: of the accelerator.
        batch: sequences; all dimensions broadcast with each other.
        query_heads: heads of queries on this device.
        context_tokens: of each sequence, the new token included.
        latent_dim: of the compressed keys and values (512 in DeepSeek-V3).
        rotary_dim: of the shared rotary key (64).
        cache_dtype: "bf16", "fp16", "fp8" or "fp32".
        window: positions that a token sees.
        query_tokens: new tokens of a sequence.
        warm_cache: as for `decode_attention_time_s`.

    Raises:
        UnknownNameError: if the cache format is unknown.
    """
    latent, rotary = column(latent_dim), column(rotary_dim)
    return _time_s(
        model,
        model.decode["latent"],
        batch=column(batch),
        query_rows=column(query_heads) * column(query_tokens),
        kv_heads=column(1.0),
        context=_visible(context_tokens, window),
        cached_dim=latent + rotary,
        product_dim=2 * latent + rotary,
        cache_bytes=_element_bytes(cache_dtype),
        warm_cache=warm_cache,
    )


def _time_s(
    model: KernelModel,
    constants: DecodeConstants,
    *,
    batch: Array,
    query_rows: Array,
    kv_heads: Array,
    context: Array,
    cached_dim: Array,
    product_dim: Array,
    cache_bytes: float,
    warm_cache: bool,
) -> Array:
    units, bandwidth = float(model.compute_units), model.bandwidth_bytes_per_s
    peak = model.peak_flops_per_s("fp16")
    blocks = batch * kv_heads
    rows = batch * query_rows
    # Queries come and outputs go in 16 bits.
    moved = blocks * context * cached_dim * cache_bytes + rows * cached_dim * 2.0
    busy = np.minimum(1.0, blocks * (constants.splits / units))
    rate = constants.memory_ratio * bandwidth * busy
    if warm_cache:
        rate = rate * np.where(moved < model.cache_bytes, constants.cache_ratio, 1.0)
    flops = 2.0 * rows * context * product_dim
    time_s = soft_maximum(
        constants.overlap_exponent,
        moved / rate,
        flops / (constants.compute_ratio * peak),
        (blocks * constants.kv_head_s + rows * constants.query_head_s) / units,
    )
    if not warm_cache:
        time_s = np.maximum(time_s, np.maximum(moved / bandwidth, flops / peak))
    combine_s = constants.split_s * np.minimum(1.0, context / constants.split_tokens)
    return constants.launch_s + combine_s + time_s


def _visible(context_tokens: Number, window: Number | None) -> Array:
    context = column(context_tokens)
    return context if window is None else np.minimum(context, column(window))


def _element_bytes(cache_dtype: str) -> float:
    try:
        return CACHE_BYTES[cache_dtype]
    except KeyError:
        raise UnknownNameError(
            f"unknown cache format `{cache_dtype}`",
            hint="known: " + ", ".join(f"`{name}`" for name in CACHE_BYTES),
        ) from None
