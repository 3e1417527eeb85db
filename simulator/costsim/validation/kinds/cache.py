"""Rows of cache sizes that engines logged when they started: tokens, and bytes of a device."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from costsim.architectures.architecture import Architecture
from costsim.architectures.catalog import load_model
from costsim.errors import CostsimError
from costsim.hardware.catalog import load_hardware
from costsim.inference.engines import load_engine
from costsim.inference.formats import format_named, runnable
from costsim.inference.layout import Layout, Layouts, Quantization
from costsim.inference.memory import KvCache, activation_bytes, kv_cache
from costsim.validation.configs import described_model
from costsim.validation.kind import Context, Figure, Kind, each
from costsim.validation.runs import Run

_GIB = 2.0**30
_SETTINGS = {
    "gpu_memory_utilization": "memory_ratio",
    "max_model_len": "max_model_len",
    "max_num_seqs": "max_sequences",
    "max_num_batched_tokens": "max_batched_tokens",
}
_WEIGHTS = {"awq": "w4a16", "gptq": "w4a16", "int4": "w4a16"}
# How repositories name a checkpoint of the same network in other formats.
_SUFFIX = re.compile(r"[-.](awq|fp8|gptq(-int[48])?|quantized\.w\d+a\d+|nvfp4|int[48]|bf16)$", re.I)


@dataclass(frozen=True, slots=True)
class CachePrediction:
    """What is predicted of a row, and the bytes that nobody states in advance."""

    cache: KvCache
    doubt_bytes: float
    assumed: tuple[str, ...]


def cache_of(run: Run, folder: Path) -> CachePrediction | str:
    """Return the cache that a row's engine has, or why that cannot be said.

    Raises:
        CostsimError: if its model, device or formats are not known.
    """
    length = run.number.get("max_model_len")
    assumed: list[str] = []
    model = _model(run, folder)
    if length is None:
        length = float(model.context_limit or 0)
        assumed.append("max_model_len: the model's")
    if length < 1:
        return "`max_model_len` is empty"
    tp, pp = (int(run.number.get(name, 1)) for name in ("tp", "pp"))
    ranks = int(run.number.get("attention_dp", 1))
    ep = int(run.number.get("ep", 1))
    layout = Layout(tp, pp, ranks, ep, max(1, tp * ranks // ep))
    if int(run.number.get("n_devices", layout.devices)) % layout.devices:
        return f"n_devices does not divide into replicas of {layout.devices}"
    system = load_hardware(run.text["accelerator_id"])
    system = system.with_count(max(system.count, layout.devices))
    device = system.accelerator
    name, version = run.text.get("framework", "vllm"), run.text.get("vllm_version", "")
    engine = load_engine(
        name.lower(),
        version,
        vendor=device.vendor,
        device=device.id,
        memory_bytes=device.memory_usable_bytes,
    )
    stated: dict[str, Any] = {
        setting: run.number[column] for column, setting in _SETTINGS.items() if column in run.number
    }
    engine = engine.launched(**{k: v if k == "memory_ratio" else int(v) for k, v in stated.items()})
    quantization = runnable(_formats(run), system)
    layouts = Layouts.of([layout])
    found = kv_cache(system, model, layouts, quantization, engine, int(length))
    doubt = float(activation_bytes(model, layouts, engine)[0]) + engine.other_bytes
    return CachePrediction(found, doubt, tuple(assumed))


def _model(run: Run, folder: Path) -> Architecture:
    """Return the model that a row names: its config, or a checkpoint's network by its name."""
    if "config" in run.text:
        return described_model(run.text["config"], folder)[0]
    name = run.text.get("model", "")
    try:
        return load_model(name)
    except CostsimError:
        short = _SUFFIX.sub("", name)
        if short == name:
            raise
        return load_model(short)


def _formats(run: Run) -> Quantization:
    stated = run.text.get("weights", "bf16").lower()
    weights = format_named(_WEIGHTS.get(stated, stated))
    dense = "bf16" if weights in ("mxfp4", "nvfp4") and stated == "mxfp4" else weights
    cache = "fp8" if run.text.get("kv_dtype", "").lower().startswith("fp8") else "bf16"
    return Quantization(dense, weights, cache)


def _figures(run: Run, found: CachePrediction) -> list[Figure]:
    cache, reason = found.cache, "; ".join(f"assumed {one}" for one in found.assumed)
    held = cache.bytes_per_device / _GIB
    doubt = found.doubt_bytes / _GIB
    low, high = max(held - doubt, 0.0), held + doubt
    measured = _measured(run)
    gib, tokens = "kv_memory_gib_per_device", "kv_tokens"
    figures = [Figure(gib, held, low, high, measured.get(gib), reason)]
    each_token = float(np.divide(cache.tokens, held)) if held else 0.0
    figures.append(
        Figure(
            *(tokens, float(cache.tokens), low * each_token, high * each_token),
            *(measured.get(tokens), reason),
        )
    )
    return figures


def _measured(run: Run) -> dict[str, float]:
    names = ("kv_tokens", "kv_memory_gib_per_device")
    return {name: run.number[name] for name in names if run.number.get(name)}


def _same(cases: Sequence[CachePrediction], _: Context) -> list[CachePrediction | str]:
    return list(cases)


CACHE: Kind[CachePrediction, CachePrediction] = Kind(
    "cache",
    "cache",
    each(lambda run, context: cache_of(run, context.folder)),
    _same,
    _figures,
    _measured,
    "kv_tokens",
)
