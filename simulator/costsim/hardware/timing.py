"""How long each kind of work takes: one entry a kind, so that a new kind is a few lines here.

An entry names the dimensions that its time depends on, which are stacked into columns over all
pieces of work of the kind, and what must be equal among pieces that are timed in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from costsim.architectures.work import (
    Convolved,
    Direction,
    Gemm,
    GroupedGemm,
    ScaledDotProduct,
    Scan,
    Stream,
    Work,
)
from costsim.architectures.workload import Execution
from costsim.hardware.attention import attention_constants, attention_time_s
from costsim.hardware.convolution import convolution_time_s
from costsim.hardware.decode import decode_attention_time_s
from costsim.hardware.gemm import gemm_time_s
from costsim.hardware.kernels import Array, KernelModel
from costsim.hardware.streaming import streaming_time_s

Part: TypeAlias = Literal["matrix", "attention", "memory"]
PARTS: tuple[Part, ...] = ("matrix", "attention", "memory")
Columns: TypeAlias = Mapping[str, Array]

# 1. QKᵀ, scaled and masked softmax, dropout, PV, the context copied to where tokens come first.
# 2. Backward: four products, dropout, softmax, two copies; fused: dO·O, dQ dK dV, dQ cast.
# Eager operators count their copies themselves.
_UNFUSED_LAUNCHES = {"forward": 5.0, "backward": 8.0}
_UNFUSED_COPIES = {"forward": 1.0, "backward": 2.0}
_FLASH_LAUNCHES = {"forward": 1.0, "backward": 3.0}


@dataclass(frozen=True, slots=True)
class Setting:
    """What a call has in common: the device, how operators run, and in which formats."""

    model: KernelModel
    execution: Execution
    other_dtype: str
    activation_bytes: float
    cache_dtype: str = "bf16"
    generates: bool = False  # queries are few and keys come from the cache


@dataclass(frozen=True, slots=True)
class Timing:
    """The time of one kind of work.

    Attributes:
        part: which part of a step it counts to.
        dimensions: attributes that `seconds` takes as columns (pieces, rows).
        alike: what distinguishes calls, given a piece, its direction and its number format.
        seconds: of the columns, under a setting and what is alike.
        kernels: launches of one piece.
    """

    part: Part
    dimensions: tuple[str, ...]
    alike: Callable[[Any, Direction, str], Hashable]
    seconds: Callable[[Setting, Columns, Any], Array]
    kernels: Callable[[Any, Execution], float]


def _by_format(work: Work, direction: Direction, dtype: str) -> Hashable:
    return dtype


def _all_alike(work: Work, direction: Direction, dtype: str) -> Hashable:
    return None


def _once(work: Work, execution: Execution) -> float:
    return 1.0


def _gemm_s(setting: Setting, c: Columns, dtype: str) -> Array:
    return gemm_time_s(setting.model, c["m"], c["n"], c["k"], dtype, c["count"])


def _grouped_s(setting: Setting, c: Columns, dtype: str) -> Array:
    return gemm_time_s(setting.model, c["mean_m"], c["n"], c["mean_k"], dtype, c["groups"])


def _convolution_s(setting: Setting, c: Columns, dtype: str) -> Array:
    return convolution_time_s(
        setting.model, c["m"], c["n"], c["k"], dtype, c["count"], c["read"], c["elements"]
    )


def _attention_s(setting: Setting, c: Columns, alike: tuple[bool, bool, Direction]) -> Array:
    causal, unlimited, direction = alike
    window = None if unlimited else c["reach"]
    if setting.generates and direction == "forward":
        return decode_attention_time_s(
            setting.model,
            c["batch"],
            c["query_heads"],
            c["kv_heads"],
            c["kv_tokens"],
            c["head_dim"],
            c["value_dim"],
            setting.cache_dtype,
            window,
            c["query_tokens"],
        )
    unfused = setting.execution.attention == "unfused"
    return attention_time_s(
        setting.model,
        c["batch"],
        c["query_heads"],
        c["kv_heads"],
        c["query_tokens"],
        c["kv_tokens"],
        c["head_dim"],
        c["value_dim"],
        dtype=setting.other_dtype,
        causal=causal,
        window=window,
        direction=direction,
        implementation="unfused" if unfused else "flash",
        dropout=setting.execution.dropout,
    )


def _attention_alike(work: ScaledDotProduct, direction: Direction, dtype: str) -> Hashable:
    return work.causal, work.window is None, direction


def _attention_kernels(work: ScaledDotProduct, execution: Execution) -> float:
    if execution.attention != "unfused":
        return _FLASH_LAUNCHES[work.direction]
    copies = _UNFUSED_COPIES[work.direction] if execution.style == "eager" else 0.0
    return _UNFUSED_LAUNCHES[work.direction] - copies - (not execution.dropout)


def _stream_s(setting: Setting, c: Columns, alike: None) -> Array:
    moved = c["elements"] * setting.activation_bytes
    return streaming_time_s(setting.model, moved, c["kernels"])


def _stream_kernels(work: Stream | Scan, execution: Execution) -> float:
    return float(work.kernels)


def _scan_s(setting: Setting, c: Columns, dtype: str) -> Array:
    """Return the time of fused scans: of their memory or, if longer, of their products.

    Products inside chunks run on the matrix units, at the rate that fused attention's do.
    """
    ratio = attention_constants(setting.model, dtype).compute_ratio
    products_s = c["flops"] / (ratio * setting.model.peak_flops_per_s(dtype))
    return np.maximum(_stream_s(setting, c, None), products_s)


TIMINGS: dict[type[Any], Timing] = {
    Gemm: Timing("matrix", ("m", "n", "k", "count"), _by_format, _gemm_s, _once),
    GroupedGemm: Timing(
        "matrix", ("mean_m", "n", "mean_k", "groups"), _by_format, _grouped_s, _once
    ),
    Convolved: Timing(
        "matrix",
        ("m", "n", "k", "count", "read", "elements"),
        _by_format,
        _convolution_s,
        _once,
    ),
    ScaledDotProduct: Timing(
        "attention",
        (
            *("batch", "query_heads", "kv_heads", "query_tokens", "kv_tokens"),
            *("head_dim", "value_dim", "reach"),
        ),
        _attention_alike,
        _attention_s,
        _attention_kernels,
    ),
    Stream: Timing("memory", ("elements", "kernels"), _all_alike, _stream_s, _stream_kernels),
    Scan: Timing("memory", ("elements", "flops", "kernels"), _by_format, _scan_s, _stream_kernels),
}
