"""Fit the constants of routed experts; whole models are held out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from costsim.hardware.calibration import GroupedConstants
from costsim.hardware.grouped import grouped_gemm_time_s
from costsim.hardware.kernels import load_kernel_model
from data import ACCELERATORS, Bound, Fit, best, fit, held_out

FAMILIES = {
    "bf16": "bfloat16",
    "fp8": "fp8",
    "fp8_block": "fp8_block",
    "nvfp4": "nvfp4",
    "w4a16": "int4_wo",
}
SHAPE = ("hidden_size", "inter_size", "topk", "num_experts")
BOUNDS = {
    "memory_ratio": Bound(0.8, 0.1, 1.0),
    "compute_ratio": Bound(0.6, 0.05, 1.0),
    "launch_s": Bound(2e-5, 1e-6, 2e-4),
    "overlap_exponent": Bound(2.0, 1.0, 8.0),
    "expert_s": Bound(1e-7, 0, 1e-5),
    "token_passes": Bound(2.0, 0, 20),
    "resident_passes": Bound(2.0, 0, 50),
    "slot_passes": Bound(0.5, 0, 20),
}


def load() -> pd.DataFrame:
    """Return balanced gated experts, the fastest kernel of each shape."""
    keys = ("hardware", "kernel", "dtype", "num_tokens", *SHAPE, "tp", "ep", "distribution")
    rows = best("moe", keys)
    gated = ~rows.kernel.astype(str).str.contains("nongated")
    rows = rows[gated & (rows.distribution == "balanced")]
    shape = ["hardware", "dtype", "num_tokens", *SHAPE, "tp", "ep"]
    return rows.groupby(shape, observed=True).time_s.min().reset_index()


def predict(family: str, values: dict[str, float], rows: pd.DataFrame) -> np.ndarray:
    times = np.empty(len(rows))
    constants = GroupedConstants(**values)
    for hardware in rows.hardware.unique():
        at = (rows.hardware == hardware).to_numpy()
        model = load_kernel_model(ACCELERATORS[hardware])
        model = dataclasses.replace(model, grouped={family: constants})
        part = rows[at]
        times[at] = grouped_gemm_time_s(
            model,
            part.num_tokens.to_numpy(),
            part.num_experts.to_numpy(),
            part.topk.to_numpy(),
            part.ep.to_numpy(),
            part.hidden_size.to_numpy(),
            (part.inter_size / part.tp).to_numpy(),
            family,
        )
    return times


def fit_family(rows: pd.DataFrame, family: str, hardware: tuple[str, ...]) -> Fit | None:
    rows = rows[rows.hardware.isin(hardware) & (rows["dtype"] == FAMILIES[family])]
    if len(rows) < 500:
        return None
    hold = held_out(*(rows[name] for name in SHAPE))
    return fit(lambda values, frame: predict(family, values, frame), BOUNDS, rows, hold)
