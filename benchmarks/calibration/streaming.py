"""Fit the constants of memory-bound kernels on vidur's layer operators; models are held out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from costsim.hardware import load_accelerator
from costsim.hardware.calibration import StreamingConstants
from costsim.hardware.kernels import load_kernel_model
from costsim.hardware.streaming import streaming_time_s
from data import KERNELS, Bound, Fit, fit

DEVICES = {
    "a100": load_accelerator("nvidia-a100-sxm4-80gb"),
    "a40": load_accelerator("nvidia-a40"),
    "h100": load_accelerator("nvidia-h100-sxm5-80gb"),
}
KINDS = {
    "add": "elementwise",
    "mlp_act": "activation",
    "input_layernorm": "normalization",
    "post_attention_layernorm": "normalization",
    "attn_rope": "rotary",
    "emb": "embedding",
}
HELD_OUT_MODELS = ("meta-llama/Meta-Llama-3-8B", "internlm/internlm-20b")
BOUNDS = {
    "launch_s": Bound(2e-6, 1e-7, 1e-5),
    "memory_ratio": Bound(0.9, 0.2, 1.0),
    "overlap_exponent": Bound(3.0, 1.0, 8.0),
    **{f"{kind}_per_clock": Bound(5, 0.5, 50) for kind in KINDS.values() if kind != "elementwise"},
}


def load() -> pd.DataFrame:
    """Return the operators with their traffic; times are printed in whole microseconds."""
    rows = pd.read_parquet(KERNELS / "vidur_layer_ops.parquet")
    rows = rows[rows.op.isin(list(KINDS)) & (rows.latency_us >= 3)].copy()
    shards = rows.num_tensor_parallel_workers
    gated = np.where(rows.model == "microsoft/phi-2", 2, 3)
    head_dim = rows.n_embd / rows.n_head
    width = {
        "add": 3.0 * rows.n_embd,
        "mlp_act": gated * rows.n_expanded_embd / shards,
        "input_layernorm": 2.0 * rows.n_embd,
        "post_attention_layernorm": 2.0 * rows.n_embd,
        "attn_rope": 2.0 * (rows.n_head + rows.n_kv_head) * head_dim / shards,
        "emb": 2.0 * rows.n_embd,
    }
    rows["moved"] = 0.0
    for op, elements in width.items():
        at = rows.op == op
        rows.loc[at, "moved"] = 2.0 * (rows.num_tokens * elements)[at]
    rows["kind"] = rows.op.map(KINDS)
    rows["time_s"] = rows.latency_us * 1e-6
    # With TP the embedding is another operator (masked, then reduced).
    return rows[(rows.op != "emb") | (shards == 1)]


def predict(values: dict[str, float], rows: pd.DataFrame) -> np.ndarray:
    constants = StreamingConstants(**{"softmax_per_clock": 1.0, **values})
    times = np.empty(len(rows))
    for (device, kind), index in rows.groupby(["hardware", "kind"], observed=True).indices.items():
        model = dataclasses.replace(load_kernel_model(DEVICES[device]), streaming=constants)
        times[index] = streaming_time_s(model, rows.moved.to_numpy()[index], kind=kind)
    return times


def fit_devices(rows: pd.DataFrame, hardware: tuple[str, ...] = tuple(DEVICES)) -> Fit:
    """Fit one set of constants for all devices: they carry over between generations."""
    rows = rows[rows.hardware.isin(hardware)]
    result = fit(predict, BOUNDS, rows, rows.model.isin(HELD_OUT_MODELS).to_numpy())
    # Softmax over rows was not timed; it streams rows and takes exponentials like an activation.
    result.constants["softmax_per_clock"] = result.constants["activation_per_clock"]
    return result
