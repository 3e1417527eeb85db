"""Time of attention: fused over many query tokens, unfused as before 2022, and over a cache."""

from __future__ import annotations

from typing import Literal

import numpy as np

from costsim.hardware.calibration import AttentionConstants
from costsim.hardware.gemm import gemm_time_s
from costsim.hardware.kernels import Array, KernelModel, Number, column, soft_maximum
from costsim.hardware.streaming import streaming_time_s

Direction = Literal["forward", "backward"]
Implementation = Literal["flash", "unfused"]

# Matrix products: scores and output forward; scores again, dV, dP, dQ, dK backward.
PRODUCTS = {"forward": 2.0, "backward": 5.0}
# Passes over queries, keys, values and output: read q k v, write o; backward also reads o and its
# gradient, and writes three gradients, that of q in fp32.
OPERAND_PASSES = {"forward": 1.0, "backward": 2.5}
# Bytes a score of unfused attention in 16 bits, masked softmax as one kernel: forward read and
# write; backward read gradient and output, write gradient. Dropout adds read and write, and a mask
# of a byte, forward and backward.
SOFTMAX_BYTES = {"forward": 4.0, "backward": 6.0}
DROPOUT_BYTES = 4.0
MASK_BYTES = 1.0


def attention_pairs(
    query_tokens: Number, kv_tokens: Number, causal: bool, window: Number | None = None
) -> Array:
    """Return how many (query, key) pairs of one head are kept by the mask.

    Queries are the last `query_tokens` of the `kv_tokens` positions when causal; `window` is how
    many positions a query sees, itself included.
    """
    queries, keys = column(query_tokens), column(kv_tokens)
    reach = keys if window is None else np.minimum(column(window), keys)
    if not causal:
        return queries * reach
    past = keys - queries
    whole = queries * past + queries * (queries + 1) / 2
    outside = np.maximum(keys - reach, 0.0)  # keys that the last query no longer sees
    before = np.maximum(past - reach, 0.0)  # and those that the query before the first did not
    return whole - (outside * (outside + 1) - before * (before + 1)) / 2


def attention_time_s(
    model: KernelModel,
    batch: Number,
    query_heads: Number,
    kv_heads: Number,
    query_tokens: Number,
    kv_tokens: Number,
    head_dim: Number,
    value_dim: Number | None = None,
    dtype: str = "bf16",
    causal: bool = True,
    window: Number | None = None,
    direction: Direction = "forward",
    implementation: Implementation = "flash",
    dropout: bool = False,
) -> Array:
    """Return the time of attention between projections, in seconds.

    Fused: launch + soft maximum of compute and memory; compute is the load of the most loaded
    compute unit (blocks of queries, masked blocks of keys skipped), each pair costing its products
    and its exponential, whose sum is Euclidean because they overlap in part.

    Args:
        model: of the accelerator.
        batch: sequences; all dimensions broadcast with each other.
        query_heads: heads of queries on this device.
        kv_heads: heads of keys and values on this device.
        query_tokens: new tokens of a sequence.
        kv_tokens: all tokens that they attend to, a prefix included.
        head_dim: of queries and keys.
        value_dim: of values; None = as head_dim.
        dtype: "bf16", "fp16", "fp8", "fp32" or "tf32".
        causal: whether a token sees only itself and those before it.
        window: positions that a token sees.
        direction: "backward" is the backward pass alone (fused: it computes the scores again).
        implementation: "unfused" writes all scores to memory and skips no masked one.
        dropout: whether unfused scores are dropped out (fused kernels hide it).

    Raises:
        UnknownNameError: if the number format or its peak is unknown.
    """
    values = column(head_dim if value_dim is None else value_dim)
    batch, queries, keys = column(batch), column(query_tokens), column(kv_tokens)
    heads, groups, dim = column(query_heads), column(kv_heads), column(head_dim)
    if implementation == "unfused":
        return _unfused_time_s(
            model, batch * heads, queries, keys, dim, values, dtype, direction, dropout
        )
    constants = attention_constants(model, dtype)
    form = model.format(dtype)
    peak, bandwidth = model.peak_flops_per_s(dtype), model.bandwidth_bytes_per_s
    units = float(model.compute_units)

    pairs = attention_pairs(queries, keys, causal, window)
    block = constants.query_block_tokens
    rows = np.ceil(queries / block) * block
    reach = keys if window is None else np.minimum(column(window), keys)
    # 1. Work of a head in pairs: kept ones, half a block at the mask's edge, each block's start.
    half_block = constants.key_block_tokens / 2 if causal or window is not None else 0.0
    work = np.minimum(pairs * (rows / queries) + rows * half_block, rows * reach)
    work = work + rows * constants.fill_tokens
    # 2. The most loaded unit has the mean load or the longest block, softly the larger.
    mean = batch * heads * work / units
    longest = block * (reach + constants.fill_tokens)
    load = soft_maximum(constants.balance_exponent, mean, longest)
    # 3. Cost of a pair, in elements of one dimension of both products.
    per_pair = np.hypot((dim + values) / 2, constants.softmax_dim)
    compute_s = load * per_pair * (4.0 * units / (constants.compute_ratio * peak))
    if direction == "backward":
        products = PRODUCTS["backward"] / PRODUCTS["forward"]
        compute_s = compute_s * (products / constants.backward_ratio)

    operands = batch * (groups * keys + heads * queries) * (dim + values)
    moved = operands * max(form.activation_bytes, 2.0) * OPERAND_PASSES[direction]
    memory_s = moved / (constants.memory_ratio * bandwidth)
    time_s = soft_maximum(constants.overlap_exponent, compute_s, memory_s)
    flops = 2.0 * batch * heads * pairs * (dim + values) * (PRODUCTS[direction] / 2)
    return constants.launch_s + np.maximum(time_s, np.maximum(flops / peak, moved / bandwidth))


def attention_constants(model: KernelModel, dtype: str) -> AttentionConstants:
    """Return the constants of fused attention on operands of `dtype`."""
    return model.attention["fp8" if dtype.startswith(("fp8", "mxfp8")) else "bf16"]


def _unfused_time_s(
    model: KernelModel,
    matrices: Array,
    queries: Array,
    keys: Array,
    dim: Array,
    values: Array,
    dtype: str,
    direction: Direction,
    dropout: bool,
) -> Array:
    """Return the time of batched products with all scores in memory between them."""
    element_ratio = model.format(dtype).output_bytes / 2.0
    scores = matrices * queries * keys
    score_bytes = scores * (SOFTMAX_BYTES[direction] * element_ratio)
    streams = streaming_time_s(model, score_bytes, kind="softmax")
    if dropout:
        streams = streams + streaming_time_s(
            model, scores * (DROPOUT_BYTES * element_ratio + MASK_BYTES)
        )
    products = gemm_time_s(model, queries, keys, dim, dtype, matrices)
    products = products + gemm_time_s(model, queries, values, keys, dtype, matrices)
    if direction == "backward":  # two products for each of the forward
        products = gemm_time_s(model, queries, keys, values, dtype, matrices)  # dP = dO·Vᵀ
        products = products + gemm_time_s(model, keys, values, queries, dtype, matrices)  # dV
        products = products + gemm_time_s(model, queries, dim, keys, dtype, matrices)  # dQ
        products = products + gemm_time_s(model, keys, dim, queries, dtype, matrices)  # dK
    return products + streams
