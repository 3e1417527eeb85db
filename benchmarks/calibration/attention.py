"""Fit the constants of attention; whole (batch, heads, head dimension, window) shapes held out.

Constants are fitted on shapes of models in use: head dimension 64, 128 or 256, up to 16 query heads
a key-value head, no window. What is left (odd head counts fall back to slow kernels in every
framework) is scored, not fitted: `all_shapes` in the record.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

from costsim.hardware.attention import attention_time_s
from costsim.hardware.calibration import AttentionConstants, DecodeConstants
from costsim.hardware.decode import decode_attention_time_s, latent_attention_time_s
from costsim.hardware.kernels import KernelModel, load_kernel_model
from data import ACCELERATORS, Bound, Fit, best, errors, fit, held_out

SHAPE = ("batch", "heads", "kv_heads", "head_dim", "window")
CACHE = {"bf16": "bfloat16", "fp8": "fp8"}
# "up to 63 % of the peak backward" against "up to 73 % forward" on A100: FlashAttention-2, Dao
# 2023. No backward is in the measured tables.
BACKWARD_RATIO = 0.86
LATENT_DIM, ROTARY_DIM = 512, 64  # of the models in attention_mla
PREFILL_BOUNDS = {
    "compute_ratio": Bound(0.7, 0.1, 1.0),
    "memory_ratio": Bound(0.8, 0.2, 1.0),
    "launch_s": Bound(1e-5, 1e-6, 5e-5),
    "overlap_exponent": Bound(2.0, 1.0, 8.0),
    "softmax_dim": Bound(80, 0, 400),
    "fill_tokens": Bound(100, 0, 4000),
    "balance_exponent": Bound(2, 1, 8),
}
DECODE_BOUNDS = {
    "memory_ratio": Bound(0.8, 0.2, 1.0),
    "compute_ratio": Bound(0.4, 0.01, 1.0),
    "launch_s": Bound(1e-5, 1e-6, 5e-5),
    "split_s": Bound(4e-6, 0, 2e-5),
    "split_tokens": Bound(512, 10, 5000),
    "overlap_exponent": Bound(2, 1, 8),
    "kv_head_s": Bound(1e-6, 0, 1e-5),
    "query_head_s": Bound(1e-7, 0, 1e-5),
    "splits": Bound(32, 1, 200),
    "cache_ratio": Bound(2, 1, 6),
}


def load_prefill() -> pd.DataFrame:
    columns = ("hardware", "dtype", "kv_dtype", "batch", "q_len", "heads", "kv_heads")
    rows = best("attention_prefill", (*columns, "head_dim", "window"))
    return rows[(rows.q_len >= 16) & (rows["dtype"] == rows.kv_dtype.astype(str))]


def load_decode() -> pd.DataFrame:
    columns = ("hardware", "kv_dtype", "batch", "context", "heads", "kv_heads")
    return best("attention_decode", (*columns, "head_dim", "window"))


def load_latent() -> pd.DataFrame:
    keys = ("hardware", "phase", "kv_dtype", "heads", "batch", "isl", "step")
    rows = best("attention_mla", keys)
    rows = rows[(rows.phase == "decode") & (rows.kv_dtype == "bfloat16")]
    return rows.assign(context=rows.isl + rows.step)


def common(rows: pd.DataFrame) -> np.ndarray:
    usual = rows.head_dim.isin([64, 128, 256]) & (rows.heads <= 16 * rows.kv_heads)
    return (usual & (rows.window == 0)).to_numpy()


def _each(
    rows: pd.DataFrame, predict: Callable[[KernelModel, pd.DataFrame], np.ndarray]
) -> np.ndarray:
    times = np.empty(len(rows))
    for hardware in rows.hardware.unique():
        at = (rows.hardware == hardware).to_numpy()
        times[at] = predict(load_kernel_model(ACCELERATORS[hardware]), rows[at])
    return times


def _window(rows: pd.DataFrame) -> np.ndarray:
    return np.where(rows.window > 0, rows.window, np.inf)


def predict_prefill(family: str, values: dict[str, float], rows: pd.DataFrame) -> np.ndarray:
    constants = AttentionConstants(**{"backward_ratio": BACKWARD_RATIO, **values})

    def predict(model: KernelModel, part: pd.DataFrame) -> np.ndarray:
        model = dataclasses.replace(model, attention={family: constants})
        q = part.q_len.to_numpy()
        b, h, g, d = (part[c].to_numpy() for c in ("batch", "heads", "kv_heads", "head_dim"))
        return attention_time_s(model, b, h, g, q, q, d, dtype=family, window=_window(part))

    return _each(rows, predict)


def predict_decode(family: str, values: dict[str, float], rows: pd.DataFrame) -> np.ndarray:
    constants = DecodeConstants(**values)

    def predict(model: KernelModel, part: pd.DataFrame) -> np.ndarray:
        model = dataclasses.replace(model, decode={family: constants})
        b, h, g, c, d = (part[c].to_numpy() for c in (*SHAPE[:3], "context", "head_dim"))
        return decode_attention_time_s(
            model, b, h, g, c, d, cache_dtype=family, window=_window(part), warm_cache=True
        )

    return _each(rows, predict)


def predict_latent(values: dict[str, float], rows: pd.DataFrame) -> np.ndarray:
    constants = DecodeConstants(**values)

    def predict(model: KernelModel, part: pd.DataFrame) -> np.ndarray:
        model = dataclasses.replace(model, decode={"latent": constants})
        b, h, c = (part[c].to_numpy() for c in ("batch", "heads", "context"))
        return latent_attention_time_s(model, b, h, c, LATENT_DIM, ROTARY_DIM, warm_cache=True)

    return _each(rows, predict)


def fit_prefill(rows: pd.DataFrame, family: str, hardware: tuple[str, ...]) -> Fit | None:
    rows = rows[rows.hardware.isin(hardware) & (rows["dtype"] == CACHE[family])]
    if rows.empty:
        return None
    usual = rows[common(rows)]
    hold = held_out(*(usual[name] for name in SHAPE))
    result = fit(lambda v, frame: predict_prefill(family, v, frame), PREFILL_BOUNDS, usual, hold)
    result.constants["backward_ratio"] = BACKWARD_RATIO
    return dataclasses.replace(
        result, all_shapes=errors(predict_prefill(family, result.constants, rows), rows)[0]
    )


def fit_decode(rows: pd.DataFrame, family: str, hardware: tuple[str, ...]) -> Fit | None:
    rows = rows[rows.hardware.isin(hardware) & (rows.kv_dtype == CACHE[family])]
    if rows.empty:
        return None
    usual = rows[common(rows)]
    hold = held_out(*(usual[name] for name in SHAPE))
    result = fit(lambda v, frame: predict_decode(family, v, frame), DECODE_BOUNDS, usual, hold)
    return dataclasses.replace(
        result, all_shapes=errors(predict_decode(family, result.constants, rows), rows)[0]
    )


def fit_latent(rows: pd.DataFrame, hardware: tuple[str, ...]) -> Fit | None:
    rows = rows[rows.hardware.isin(hardware)]
    if rows.empty:
        return None
    hold = held_out(rows.batch, rows.heads)
    return fit(predict_latent, DECODE_BOUNDS, rows, hold)
