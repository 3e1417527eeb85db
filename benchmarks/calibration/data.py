"""The measured kernels as columns, and a robust fit of named constants to them.

Files come from $COSTSIM_SHARED/validation/kernels, by default `../shared` beside the checkout.
Where several frameworks timed one shape the fastest counts: it is what a tuned stack reaches.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from costsim.hardware import load_accelerator

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("COSTSIM_SHARED", ROOT.parent / "shared"))
KERNELS = SHARED / "validation" / "kernels"
CALIBRATION = ROOT / "hardware_specs" / "calibration"

DEVICES = {
    "a100_sxm": "nvidia-a100-sxm4-80gb",
    "h100_sxm": "nvidia-h100-sxm5-80gb",
    "h200_sxm": "nvidia-h200-sxm-141gb",
    "l40s": "nvidia-l40s",
    "b200_sxm": "nvidia-b200-sxm-180gb",
    "gb200": "nvidia-gb200",
    "b300_sxm": "nvidia-b300-sxm-270gb",
    "gb300": "nvidia-gb300",
    "rtx_pro_6000_server": "nvidia-rtx-pro-6000-blackwell-server",
}
CLASSES = {
    "ampere": ("a100_sxm",),
    "ada": ("l40s",),
    "hopper": ("h100_sxm", "h200_sxm"),
    "blackwell": ("b200_sxm", "gb200"),
    "blackwell-ultra": ("b300_sxm", "gb300"),
    "rtx-blackwell": ("rtx_pro_6000_server",),
}
ACCELERATORS = {name: load_accelerator(identity) for name, identity in DEVICES.items()}
SAMPLE = 4000  # points a fit sees; more change the constants by less than a percent


@dataclass(frozen=True)
class Bound:
    """A constant to fit: where to begin and what is physically possible."""

    start: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """Fitted constants and their relative errors."""

    constants: dict[str, float]
    points: int
    in_sample: float
    held_out: float
    held_out_p90: float
    bias: float
    all_shapes: float | None = None  # median over shapes that were not fitted, too
    held_out_errors: np.ndarray | None = None  # of each point

    def record(self) -> dict[str, float]:
        figures = {
            "points": self.points,
            "in_sample": round(self.in_sample, 4),
            "held_out": round(self.held_out, 4),
            "held_out_p90": round(self.held_out_p90, 4),
            "held_out_bias": round(self.bias, 4),
        }
        if self.all_shapes is not None:
            figures["all_shapes"] = round(self.all_shapes, 4)
        return figures


def best(table: str, keys: Sequence[str]) -> pd.DataFrame:
    """Return the fastest latency of each combination of `keys`, dimensions as float64."""
    frame = pd.read_parquet(KERNELS / f"{table}.parquet", columns=[*keys, "latency_us"])
    frame = frame.groupby(list(keys), observed=True).latency_us.min().reset_index()
    frame["time_s"] = frame.pop("latency_us").astype(np.float64) * 1e-6
    numbers = frame.select_dtypes("number").columns
    frame[numbers] = frame[numbers].astype(np.float64)
    return frame[frame.hardware.isin(list(DEVICES))]


def held_out(*columns: pd.Series) -> np.ndarray:
    """Return which rows are held out: a fifth of the combinations of `columns`, by hash."""
    mixed = np.zeros(len(columns[0]), np.uint64)
    for values in columns:
        mixed = (mixed ^ values.to_numpy().astype(np.uint64)) * np.uint64(2654435761)
        mixed ^= mixed >> np.uint64(15)
    return (mixed * np.uint64(2246822519) >> np.uint64(20)) % np.uint64(5) == 0


def fit(
    predict: Callable[[dict[str, float], pd.DataFrame], np.ndarray],
    bounds: dict[str, Bound],
    rows: pd.DataFrame,
    hold: np.ndarray,
) -> Fit:
    """Fit constants to log time with a soft L1 loss, which one framework's odd shapes do not bend.

    Args:
        predict: times of rows under constants.
        bounds: constants to fit.
        rows: with `time_s`.
        hold: rows kept from the fit.
    """
    names = list(bounds)
    scale = np.array([max(abs(bounds[name].start), 1e-12) for name in names])
    train, test = rows[~hold], rows[hold]
    if len(train) > SAMPLE:
        train = train.sample(SAMPLE, random_state=0)

    def residuals(vector: np.ndarray, frame: pd.DataFrame) -> np.ndarray:
        constants = dict(zip(names, vector * scale, strict=True))
        return np.log(predict(constants, frame) / frame.time_s.to_numpy())

    solution = least_squares(
        residuals,
        np.ones(len(names)),
        bounds=(
            [bounds[name].low / s for name, s in zip(names, scale, strict=True)],
            [bounds[name].high / s for name, s in zip(names, scale, strict=True)],
        ),
        loss="soft_l1",
        f_scale=0.1,
        args=(train,),
    )
    # Four digits; what vanishes beside its starting value is nothing.
    constants = {
        name: float(f"{value * s:.4g}") if abs(value) > 1e-6 else 0.0
        for name, value, s in zip(names, solution.x, scale, strict=True)
    }
    within, _, _ = errors(predict(constants, train), train)
    if len(test) == 0:
        test = train
    without, p90, bias = errors(predict(constants, test), test)
    each = np.abs(predict(constants, test) / test.time_s.to_numpy() - 1)
    return Fit(constants, len(rows), within, without, p90, bias, held_out_errors=each)


def errors(predicted_s: np.ndarray, rows: pd.DataFrame) -> tuple[float, float, float]:
    """Return median and 90th percentile of |predicted/measured - 1|, and the median bias."""
    ratio = predicted_s / rows.time_s.to_numpy() - 1
    return (
        float(np.median(np.abs(ratio))),
        float(np.quantile(np.abs(ratio), 0.9)),
        float(np.median(ratio)),
    )
