"""From a row of inference runs to what is served: model, device, layout, formats, engine, traffic.

Only configuration columns are read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

from costsim.architectures.architecture import Architecture
from costsim.architectures.operators import Experts
from costsim.hardware.catalog import load_hardware
from costsim.hardware.systems import System
from costsim.inference.engines import Engine, load_engine
from costsim.inference.formats import format_named, runnable
from costsim.inference.layout import Layout, Quantization
from costsim.validation.configs import described_model
from costsim.validation.runs import Run

Load: TypeAlias = Literal["closed-loop", "max-throughput"]

_OFFLINE = "tensorrt-llm-offline"
_NARROW = ("fp8", "fp8_block", "mxfp8", "nvfp4", "mxfp4", "int8")


@dataclass(frozen=True, slots=True)
class ServedRun:
    """A row as the steady state takes it; `assumed` says what was put where it says nothing.

    `replicas` of the layout share the users; `users` is None where the row asks for as many as the
    cache holds.
    """

    model: Architecture
    system: System
    layout: Layout
    replicas: int
    quantization: Quantization
    engine: Engine
    load: Load
    users: float | None
    input_tokens: float
    output_tokens: float
    assumed: tuple[str, ...]

    @property
    def routed(self) -> bool:
        """Whether the model has routed experts."""
        return _routed(self.model)


def served_run(run: Run, folder: Path) -> ServedRun | str:
    """Return what a row serves, or why that cannot be said.

    Args:
        run: the row.
        folder: where paths in its column `config` start.

    Raises:
        CostsimError: if its model, device or formats are not known.
    """
    lengths = [run.number.get(name, 0.0) for name in ("input_tokens", "output_tokens")]
    if min(lengths) < 1:
        return "input_tokens and output_tokens must both be at least 1"
    if run.text.get("serving", "aggregated") not in ("aggregated", "agg"):
        return f"serving `{run.text['serving']}` is not predicted, only `aggregated`"
    assumed: list[str] = []
    load = _load(run, assumed)
    if load not in ("closed-loop", "max-throughput"):
        return f"load `{load}` is not predicted, only `closed-loop` and `max-throughput`"
    if load == "closed-loop" and run.number.get("concurrency", 0.0) < 1:
        return "concurrency must be at least 1"
    model_name = run.text.get("model", "")
    name = run.text.get("config") or model_name
    model, packed = described_model(name, folder)
    system = load_hardware(run.text.get("accelerator_id", ""))
    engine = load_engine(_engine(run.text.get("framework", ""), load))
    quantization = runnable(_quantization(run, packed, engine), system)
    layout, replicas = _layout(run, model, load, assumed)
    if layout.devices > 1:
        system = system.with_count(max(system.count, layout.devices))
    users = run.number["concurrency"] if load == "closed-loop" else None
    return ServedRun(
        model,
        system,
        layout,
        replicas,
        quantization,
        engine,
        load,
        users,
        *lengths,
        assumed=tuple(assumed),
    )


def _load(run: Run, assumed: list[str]) -> str:
    if "load" in run.text:
        return run.text["load"].lower()
    load = "closed-loop" if "concurrency" in run.number else "max-throughput"
    assumed.append(f"load {load}")
    return load


def _engine(framework: str, load: str) -> str:
    """Return the profile of an engine by its name and version, "trtllm/1.0.0rc3"."""
    name, _, version = framework.lower().partition("/")
    if "vllm" in name:
        return "vllm"
    if "sglang" in name:
        return "sglang"
    if "trt" in name or "tensorrt" in name:
        if load == "max-throughput":
            return _OFFLINE
        return "tensorrt-llm-1.0" if re.match(r"(0|1\.0)\.", version) else "tensorrt-llm"
    return _OFFLINE if load == "max-throughput" else "generic"


def _quantization(run: Run, packed: str, engine: Engine) -> Quantization:
    """Return the formats of a row; `packed` is what the model's own config quantizes by."""
    precision = run.text.get("precision") or "bf16"
    dense = format_named(run.text.get("gemm_quant") or precision)
    experts = format_named(run.text.get("moe_quant") or run.text.get("gemm_quant") or precision)
    if packed == "mxfp4":  # as published it leaves all but the experts in 16 bits
        dense, experts = "bf16", "nvfp4" if experts == "nvfp4" else "mxfp4"
    return Quantization(dense, experts, engine.cache if dense in _NARROW else "bf16")


def _layout(run: Run, model: Architecture, load: str, assumed: list[str]) -> tuple[Layout, int]:
    """Return the layout of a replica, and how many of them share the users."""

    def stated(column: str) -> int | None:
        return int(run.number[column]) if run.number.get(column) else None

    routed = _routed(model)
    pp, ep = stated("pp") or 1, stated("ep") or 1
    devices = stated("n_devices") or (stated("tp") or 1) * pp
    tp = stated("tp") or max(1, devices // pp)
    ranks, moe_tp = stated("attention_dp"), stated("moe_tp")
    if ranks is None and routed and moe_tp is not None:
        ranks = max(1, moe_tp * ep // tp)
    elif ranks is None and routed and load == "max-throughput" and tp > 1:
        # Deployments for throughput let each rank attend to requests of its own.
        tp, ranks, ep = 1, tp, max(ep, tp)
        assumed.append(f"attention_dp {ranks}, ep {ep}")
    elif ranks is None and routed and devices > tp * pp:
        ranks = devices // (tp * pp)
    ranks = ranks or 1
    ep = min(ep, tp * ranks)
    return (
        Layout(tp, pp, ranks, ep, max(1, tp * ranks // ep)),
        max(1, devices // (tp * pp * ranks)),
    )


@lru_cache(maxsize=64)
def _routed(model: Architecture) -> bool:
    return any(isinstance(op, Experts) for block in model.blocks() for op in block.operators)
