"""Fit the constants of matrix products; whole (n, k) shapes are held out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from costsim.hardware.calibration import GemmConstants
from costsim.hardware.gemm import gemm_time_s
from costsim.hardware.kernels import FORMATS, KernelModel, load_kernel_model
from data import ACCELERATORS, Bound, Fit, best, errors, fit, held_out

FAMILIES = {
    "bf16": ("bfloat16",),
    "fp8": ("fp8",),
    "fp8_block": ("fp8_block",),
    "nvfp4": ("nvfp4",),
    "int8": ("sq",),
    "w8a16": ("int8_wo",),
    "w4a16": ("int4_wo",),
}
SMALLEST = 512  # n and k below are launch floors only
BOUNDS = {
    "compute_ratio": Bound(0.8, 0.2, 1.0),
    "memory_ratio": Bound(0.85, 0.2, 1.0),
    "launch_s": Bound(3e-6, 2e-7, 3e-5),
    "overlap_exponent": Bound(2.5, 1.0, 8.0),
    "fill_k": Bound(100, 0, 4000),
    "wave_share": Bound(0.4, 0, 1),
    "tile_half": Bound(20, 0, 300),
    "split_ratio": Bound(0.5, 0.02, 8.0),
}
QUANTIZING = {"quantize_passes": Bound(1.0, 0, 6)}


def load() -> pd.DataFrame:
    """Return the measured products, without those that ran faster than memory can deliver.

    The benchmark repeats one product, so small operands stay in the last-level cache; in a model
    other layers push them out.
    """
    rows = best("gemm_full", ("hardware", "dtype", "m", "n", "k"))
    rows = rows[(rows.n >= SMALLEST) & (rows.k >= SMALLEST)]
    formats = {measured: FORMATS[name] for name, all in FAMILIES.items() for measured in all}
    form = rows["dtype"].astype(str).map(formats)
    rows = rows[form.notna()]
    read = (
        form.map(lambda f: f.activation_bytes) * rows.m
        + form.map(lambda f: f.weight_bytes) * rows.n
    )
    moved = read * rows.k + 2.0 * rows.m * rows.n
    bandwidth = rows.hardware.astype(str).map(
        {name: device.memory_bandwidth_bytes_per_s for name, device in ACCELERATORS.items()}
    )
    return rows[rows.time_s > moved / bandwidth]


def with_constants(model: KernelModel, family: str, values: dict[str, float]) -> KernelModel:
    return dataclasses.replace(model, gemm={family: GemmConstants(**values)})


def predict(family: str, values: dict[str, float], rows: pd.DataFrame) -> np.ndarray:
    times = np.empty(len(rows))
    values = {"quantize_passes": 0.0, **values}
    for hardware in rows.hardware.unique():
        at = (rows.hardware == hardware).to_numpy()
        model = with_constants(load_kernel_model(ACCELERATORS[hardware]), family, values)
        m, n, k = (rows[name].to_numpy()[at] for name in "mnk")
        times[at] = gemm_time_s(model, m, n, k, family)
    return times


def fit_family(rows: pd.DataFrame, family: str, hardware: tuple[str, ...]) -> Fit | None:
    """Fit one number format on devices; None where it was not measured."""
    rows = rows[rows.hardware.isin(hardware) & rows.dtype.isin(FAMILIES[family])]
    if rows.empty:
        return None
    bounds = BOUNDS | (QUANTIZING if FORMATS[family].quantizes else {})
    result = fit(
        lambda values, frame: predict(family, values, frame),
        bounds,
        rows,
        held_out(rows.n, rows.k),
    )
    if family not in ("fp8", "fp8_block", "nvfp4", "int8"):
        result.constants["quantize_passes"] = 0.0
    return result


def device_error(
    rows: pd.DataFrame, family: str, constants: dict[str, float], hardware: str
) -> float:
    """Return the median error on one device of constants fitted on others."""
    rows = rows[(rows.hardware == hardware) & rows.dtype.isin(FAMILIES[family])]
    return errors(predict(family, constants, rows), rows)[0]
