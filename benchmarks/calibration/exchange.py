"""Fit the constants of moving tokens to experts; whole models (hidden, top-k) are held out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from costsim.hardware import load_hardware
from costsim.hardware.calibration import ExchangeConstants
from costsim.hardware.experts import expert_exchange_time_s
from data import KERNELS, Bound, Fit, fit, held_out

SYSTEMS = {
    "h100_sxm": load_hardware("dgx-h100", 64),
    "h200_sxm": load_hardware("dgx-h200", 64),
    "b200_sxm": load_hardware("dgx-b200"),
    "b300_sxm": load_hardware("dgx-b300"),
    "gb200": load_hardware("gb200-nvl72"),
    "gb300": load_hardware("gb300-nvl72"),
}
DISPATCH_BYTES = 1.0 + 4.0 / 128.0  # fp8 with one fp32 scale each 128 elements
COMBINE_BYTES = 2.0
LARGEST = 32_768  # tokens; beyond, eight nodes congest
BOUNDS = {
    "dispatch_s": Bound(3e-5, 1e-6, 3e-4),
    "combine_s": Bound(4e-5, 1e-6, 3e-4),
    "node_s": Bound(2e-5, 0, 3e-4),
    "unit_bytes_per_s": Bound(1.2e10, 1e9, 5e10),
    "link_ratio": Bound(0.6, 0.1, 1),
    "network_ratio": Bound(0.7, 0.05, 1),
}


def load() -> pd.DataFrame:
    rows = pd.read_csv(KERNELS / "moe_a2a.csv")
    rows = rows[rows.comm_backend.str.startswith("deepep_normal") & (rows.num_tokens <= LARGEST)]
    rows["units"] = rows.comm_backend.str.extract(r"sms(\d+)").astype(float)
    rows["time_s"] = rows.latency_us * 1e-6
    return rows.reset_index(drop=True)


def predict(values: dict[str, float], rows: pd.DataFrame) -> np.ndarray:
    constants = ExchangeConstants(**values)
    times = np.empty(len(rows))
    for (hardware, phase), index in rows.groupby(["hardware", "phase"]).indices.items():
        part = rows.iloc[index]
        times[index] = expert_exchange_time_s(
            SYSTEMS[hardware],
            phase,
            part.num_tokens.to_numpy(),
            part.hidden_size.to_numpy(),
            part.topk.to_numpy(),
            part.ep_size.to_numpy(),
            element_bytes=DISPATCH_BYTES if phase == "dispatch" else COMBINE_BYTES,
            units=part.units.to_numpy(),
            constants=constants,
        )
    return times


def fit_all() -> Fit:
    rows = load()
    return fit(predict, BOUNDS, rows, held_out(rows.hidden_size, rows.topk, rows.num_experts))
