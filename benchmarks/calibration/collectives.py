"""Fit the constants of links; group sizes are held out in turn, devices left out in turn."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pandas as pd

from costsim.hardware import System, Tier, collectives, load_accelerator
from costsim.hardware.calibration import LinkConstants
from costsim.hardware.collectives import collective_time_s
from data import DEVICES, KERNELS, Bound, Fit, errors, fit

OPERATIONS = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
}
LINKS = {
    "nvlink3": ("a100_sxm",),
    "nvlink4": ("h100_sxm", "h200_sxm"),
    "nvlink5": ("b200_sxm", "b300_sxm", "gb200", "gb300"),
    "pcie": ("rtx_pro_6000_server",),
}
IN_NETWORK = ("nvlink4", "nvlink5")  # NVLink SHARP
DIRECT = ("SGLang_CustomAllReduce_graph", "vLLM_custom_graph", "TRTLLM", "TRTLLM_MNNVL_oneshot")
DIRECT_LINKS = ("nvlink3", "nvlink4", "nvlink5")
DIRECT_BYTES = 8e6  # above this the engines call the library
BOUNDS = {
    "ring_ratio": Bound(0.8, 0.02, 1.0),
    "pair_share": Bound(0.4, 0, 3),
    "pipeline_ratio": Bound(1.0, 0, 6),
    "base_s": Bound(5e-6, 1e-7, 5e-5),
    "step_s": Bound(1e-6, 1e-8, 1e-5),
    "all_to_all_ratio": Bound(0.8, 0.02, 1.0),
    "all_to_all_s": Bound(8e-6, 1e-6, 1e-4),
    "peer_s": Bound(2e-7, 0, 1e-5),
}
SWITCH_BOUNDS = {
    "in_network_ratio": Bound(0.6, 0.02, 1.0),
    "in_network_s": Bound(2e-5, 1e-6, 1e-4),
}
DIRECT_BOUNDS = {"direct_s": Bound(4e-6, 1e-7, 5e-5), "direct_ratio": Bound(0.6, 0.02, 1.0)}
ABSENT = {"in_network_ratio": 0.0, "in_network_s": 0.0, "direct_s": 0.0, "direct_ratio": 0.0}


def load() -> pd.DataFrame:
    rows = pd.read_csv(KERNELS / "collectives.csv")
    rows = rows[rows.hardware.isin(list(DEVICES)) & rows.op.isin(list(OPERATIONS))]
    rows = rows[(rows.source != "vidur@7d47513") & (rows["dtype"] != "int8")]
    keys = ["hardware", "algo", "op", "n_gpus", "bytes"]
    rows = rows.groupby(keys).latency_us.median().reset_index()
    rows["time_s"] = rows.latency_us * 1e-6
    return rows


def _system(device: str, switch: bool) -> System:
    accelerator = load_accelerator(DEVICES[device])
    bandwidth = accelerator.scale_up_bytes_per_s or accelerator.pcie_bytes_per_s
    assert bandwidth
    kind = "nvlink-switch" if accelerator.scale_up_bytes_per_s else "pcie"
    tier = Tier(kind, kind, None, bandwidth, in_network_reduction=switch)
    return System(
        *(device, device, accelerator, 64, (tier,), 64, None, "", None, "", "", "", "", {})
    )


def predict(values: dict[str, float], rows: pd.DataFrame, algorithm: str) -> np.ndarray:
    constants = LinkConstants(**{**ABSENT, **values})
    times = np.empty(len(rows))
    keys = ["hardware", "op"]
    with patch.object(collectives, "load_link", lambda kind, name: constants):
        for (device, op), index in rows.groupby(keys, observed=True).indices.items():
            part = rows.iloc[index]
            system = _system(device, constants.in_network_ratio > 0)
            times[index] = collective_time_s(
                system,
                OPERATIONS[op],
                part.bytes.to_numpy(),
                part.n_gpus.to_numpy(),
                algorithm=algorithm,
            )
    return times


def library_rows(rows: pd.DataFrame, link: str) -> pd.DataFrame:
    return rows[rows.hardware.isin(LINKS[link]) & (rows.algo == "NCCL")]


def fit_library(rows: pd.DataFrame, link: str, hold: np.ndarray | None = None) -> Fit:
    """Fit the library's constants; without `hold` a fifth of the message sizes is held out."""
    rows = library_rows(rows, link)
    bounds = BOUNDS | (SWITCH_BOUNDS if link in IN_NETWORK else {})
    if hold is None:
        hold = (np.log2(rows.bytes) % 5 == 2).to_numpy()
    return fit(lambda values, frame: predict(values, frame, "library"), bounds, rows, hold)


def fit_direct(rows: pd.DataFrame, link: str, library: dict[str, float]) -> Fit:
    rows = rows[rows.hardware.isin(LINKS[link]) & rows.algo.isin(DIRECT)]
    rows = rows[(rows.bytes <= DIRECT_BYTES) & (rows.n_gpus <= 8)]
    keys = ["hardware", "op", "n_gpus", "bytes"]
    rows = rows.groupby(keys).time_s.min().reset_index()
    hold = (np.log2(rows.bytes) % 5 == 2).to_numpy()
    return fit(
        lambda values, frame: predict(library | values, frame, "one-shot"),
        DIRECT_BOUNDS,
        rows,
        hold,
    )


def left_out(rows: pd.DataFrame, link: str) -> dict[str, float]:
    """Return median errors: all-reduce held out, largest group left out, a device left out."""
    rows = library_rows(rows, link).reset_index(drop=True)

    def error(hold: np.ndarray, scored: np.ndarray) -> float:
        constants = fit_library(rows, link, hold).constants
        part = rows[scored].reset_index(drop=True)
        return errors(predict(constants, part, "library"), part)[0]

    sizes = (np.log2(rows.bytes) % 5 == 2).to_numpy()
    largest = (rows.n_gpus == rows.n_gpus.max()).to_numpy()
    devices = [(rows.hardware == device).to_numpy() for device in rows.hardware.unique()]
    return {
        "all_reduce": error(sizes, sizes & (rows.op == "all_reduce").to_numpy()),
        "ranks_out": error(largest, largest),
        "device_out": max((error(at, at) for at in devices), default=np.nan)
        if len(devices) > 1
        else np.nan,
    }
