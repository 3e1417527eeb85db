"""From a row of inference runs to what is served: model, device, layout, formats, engine, traffic.

Only configuration columns are read here; what a row says in words (`notes`, `dataset`) counts too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from costsim.architectures.architecture import Architecture
from costsim.architectures.operators import Experts
from costsim.errors import CostsimError, SpecError
from costsim.hardware.catalog import load_hardware
from costsim.hardware.systems import System
from costsim.inference.engines import (
    Engine,
    Speculation,
    load_engine,
    usual_acceptance,
)
from costsim.inference.formats import format_named, runnable
from costsim.inference.layout import Layout, Quantization
from costsim.inference.outcomes import Case, Load, LoadKind, Pools
from costsim.validation.configs import described_model
from costsim.validation.runs import Run

LOADS: tuple[LoadKind, ...] = (
    *("closed-loop", "max-throughput", "static-batch", "burst", "open-loop"),
)

_OFFLINE = "tensorrt-llm-offline"
_NARROW = ("fp8", "fp8_block", "mxfp8", "nvfp4", "mxfp4", "int8")
# One direction of sixteen lanes, by generation of PCIe.
_PCIE_BYTES_PER_S = {3: 15.75e9, 4: 31.5e9, 5: 63e9}
_VARIED = ("sharegpt", "uniform", "lm-arena", "gpqa", "mlperf", "shared_prefix")


@dataclass(frozen=True, slots=True)
class ServedRun:
    """A row as a case; `assumed` says what was put where it says nothing."""

    case: Case
    assumed: tuple[str, ...]

    @property
    def model(self) -> Architecture:
        return self.case.model

    @property
    def system(self) -> System:
        return self.case.system

    @property
    def routed(self) -> bool:
        """Whether the model has routed experts."""
        return _routed(self.case.model)


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
    assumed: list[str] = []
    load = _load(run, assumed)
    if load not in LOADS:
        return f"load `{load}` is not predicted, only " + ", ".join(f"`{one}`" for one in LOADS)
    users = run.number.get("concurrency")
    prompts = run.number.get("num_prompts")
    rate = run.number.get("request_rate")
    if load in ("static-batch", "burst"):
        users = users or prompts
        prompts = prompts or users
    needed = {"closed-loop": users, "static-batch": users, "burst": users, "open-loop": rate}
    if load in needed and not (needed[load] or 0.0) > 0:
        column = "request_rate" if load == "open-loop" else "concurrency"
        return f"{column} must be above 0 where the load is {load}"
    model_name = run.text.get("model", "")
    name = run.text.get("config") or model_name
    model, packed = described_model(name, folder)
    system = _machine(run, load_hardware(run.text.get("accelerator_id", "")), assumed)
    engine = _engine(run, load, system, model, assumed)
    quantization = runnable(_quantization(run, packed, engine), system)
    pools = _pools(run)
    layout, replicas = _layout(run, model, load, assumed)
    if pools is not None:
        layout, replicas = pools.decode, pools.decode_workers
    widest = max(layout.devices, pools.prefill.devices if pools else 1)
    if widest > 1:
        system = system.with_count(max(system.count, widest))
    drawn = _drawn(run.text.get("notes", ""))
    dataset = run.text.get("dataset", "").lower()
    varied = any(word in dataset for word in _VARIED)
    traffic = Load(
        load,
        max(lengths[0] * drawn, 1.0),
        max(lengths[1] * drawn, 1.0),
        _cached(run, lengths[0]),
        None if load in ("max-throughput", "open-loop") else users,
        rate if load == "open-loop" else None,
        prompts,
        drawn == 1.0 and not varied,
        varied,
    )
    case = Case(model, system, layout, replicas, quantization, engine, traffic, pools)
    return ServedRun(case, tuple(assumed))


def _load(run: Run, assumed: list[str]) -> str:
    if "load" in run.text:
        return run.text["load"].lower()
    load = "closed-loop" if "concurrency" in run.number else "max-throughput"
    assumed.append(f"load {load}")
    return load


def _drawn(notes: str) -> float:
    """Return the mean of lengths over those stated, where they are drawn from a range of these."""
    found = re.search(r"drawn uniformly from ([\d.]+) to ([\d.]+) of those stated", notes)
    return 1.0 if found is None else (float(found[1]) + float(found[2])) / 2.0


def _cached(run: Run, input_tokens: float) -> float:
    """Return the tokens of a prompt that a prefix cache has."""
    if "prefix_cache_hit_ratio" in run.number:
        return min(run.number["prefix_cache_hit_ratio"], 0.999) * input_tokens
    shared = re.search(r"shared (\d+)-token", run.text.get("notes", ""))
    if shared and run.text.get("prefix_caching") == "on":
        return min(float(shared[1]), input_tokens - 1.0)
    return 0.0


def _machine(run: Run, system: System, assumed: list[str]) -> System:
    """Return the system with what the row says of its links and of a limit of power."""
    notes = run.text.get("notes", "")
    lanes = re.search(r"PCIe (\d)\.\d x(\d+)", notes)
    if lanes and system.tiers and system.tiers[0].kind == "pcie":
        rate = _PCIE_BYTES_PER_S.get(int(lanes[1]), 0.0) * int(lanes[2]) / 16.0
        if rate > 0:
            first = replace(system.tiers[0], bandwidth_bytes_per_s=rate)
            system = replace(system, tiers=(first, *system.tiers[1:]))
    limit = re.search(r"power limit (\d+) W of (\d+)", notes)
    if limit and float(limit[1]) < float(limit[2]):
        # Dynamic power grows with about the cube of the clock, and products with the clock.
        share = (float(limit[1]) / float(limit[2])) ** (1.0 / 3.0)
        device = system.accelerator
        peaks = {name: peak * share for name, peak in device.peaks_flops_per_s.items()}
        system = replace(system, accelerator=replace(device, peaks_flops_per_s=peaks))
        assumed.append(f"products at {share:.0%} under the limit of power")
    return system


def _engine(run: Run, load: str, system: System, model: Architecture, assumed: list[str]) -> Engine:
    """Return the engine that a row names, "trtllm/1.0.0rc3", launched as the row says."""
    name, _, version = run.text.get("framework", "").lower().partition("/")
    version = version or _version(run.text.get("engine_version", ""))
    device = system.accelerator
    where = {
        "vendor": device.vendor,
        "device": device.id,
        "memory_bytes": device.memory_usable_bytes,
    }
    offline = load == "max-throughput" and (not name or "trt" in name or "tensorrt" in name)
    if offline:
        engine = load_engine(_OFFLINE, version, **where)
    elif name:
        try:
            engine = load_engine(name, version, **where)
        except CostsimError:
            engine = load_engine("generic", "", **where)
            assumed.append(f"engine `{name}` is not known: the generic one")
    else:
        engine = load_engine("generic", "", **where)
    settings: dict[str, Any] = {}
    columns = {
        "max_num_batched_tokens": "max_batched_tokens",
        "max_num_seqs": "max_sequences",
        "max_model_len": "max_model_len",
    }
    for column, setting in columns.items():
        if run.number.get(column, 0.0) >= 1:
            settings[setting] = int(run.number[column])
    if 0 < run.number.get("gpu_memory_utilization", 0.0) <= 1:
        settings["memory_ratio"] = run.number["gpu_memory_utilization"]
    drafts = _speculation(run, model, assumed)
    if drafts is not None:
        settings["speculation"] = drafts
    return engine.launched(**settings)


def _version(text: str) -> str:
    found = re.search(r"v?(\d+\.\d+[\w.]*)", text)
    return found[1] if found else ""


def _speculation(run: Run, model: Architecture, assumed: list[str]) -> Speculation | None:
    method = run.text.get("spec_method", "").lower()
    if not method or method in ("none", "off"):
        return None
    stated = run.number.get("spec_tokens")
    usual = {"dflash": 8, "mtp": 1, "eagle3": 3, "eagle": 3}
    tokens = int(stated) if stated else usual.get(method, 3)
    accepted = run.number.get("acceptance_length")
    if accepted is None:
        accepted = usual_acceptance(tokens)
        assumed.append(f"{tokens} drafts of which {accepted - 1:.2g} are accepted")
    layers = max(sum(1 for block in model.blocks() for _ in range(int(block.count))) - 2, 1)
    draft = 0.0 if method == "ngram" else 1.0 / layers / (tokens if method == "dflash" else 1)
    return Speculation(tokens, min(max(accepted, 1.0), tokens + 1.0), draft, method)


def _quantization(run: Run, packed: str, engine: Engine) -> Quantization:
    """Return the formats of a row; `packed` is what the model's own config quantizes by."""
    precision = run.text.get("precision") or "bf16"
    named = (run.text.get("gemm_quant"), run.text.get("moe_quant"))
    if engine.name in ("llama.cpp", "mlx"):  # its own groups, and more bits than nominal
        own: Mapping[str, str] = {"int4_wo": "q4", "int4": "q4", "int8_wo": "q8", "q4": "q4"}
        precision = own.get(precision, precision)
        named = (own.get(named[0] or "", named[0]), own.get(named[1] or "", named[1]))
    dense = format_named(named[0] or precision)
    experts = format_named(named[1] or named[0] or precision)
    if packed == "mxfp4":  # as published it leaves all but the experts in 16 bits
        dense, experts = "bf16", "nvfp4" if experts == "nvfp4" else "mxfp4"
    stated = run.text.get("kv_dtype", "").lower()
    if stated.startswith("fp8"):
        cache = "fp8"
    elif stated:
        cache = "bf16"
    else:
        cache = engine.cache if dense in _NARROW else "bf16"
    return Quantization(dense, experts, cache)


def _pools(run: Run) -> Pools | None:
    """Return the pools of a row whose prompts are computed apart."""
    if run.text.get("serving", "aggregated") in ("aggregated", "agg"):
        return None
    workers = [int(run.number.get(f"{name}_workers", 0.0)) for name in ("prefill", "decode")]
    if min(workers) < 1:
        raise SpecError("prefill_workers and decode_workers must both be at least 1")
    devices = int(run.number.get("n_devices", 0.0))
    prefill, decode = (_named(run, f"{name}_layout") for name in ("prefill", "decode"))
    if prefill and not decode and devices:
        left = max(devices - prefill.devices * workers[0], workers[1])
        decode = _plain(left // workers[1], _whole(run, "attention_dp"))
    if not prefill or not decode:
        each = _whole(run, "tp") or max(devices // sum(workers), 1)
        one = _plain(each, 1)
        prefill, decode = prefill or one, decode or one
    return Pools(prefill, workers[0], decode, workers[1])


def _named(run: Run, column: str) -> Layout | None:
    """Return a layout in words, "TP4", "DEP8" or "tp2 pp2 dp4 ep8"."""
    text = run.text.get(column, "").lower()
    degrees = {
        name: int(n) for name, n in re.findall(r"\b(dep|tep|tp|pp|dp|ep)\s*[=-]?\s*(\d+)", text)
    }
    if not degrees:
        return None
    if "dep" in degrees:
        return Layout(1, degrees.get("pp", 1), degrees["dep"], degrees["dep"], 1)
    tp = degrees.get("tep") or degrees.get("tp", 1)
    ranks = degrees.get("dp", 1)
    ep = min(degrees.get("tep") or degrees.get("ep", 1), tp * ranks)
    return Layout(tp, degrees.get("pp", 1), ranks, ep, max(1, tp * ranks // ep))


def _plain(devices: int, ranks: int) -> Layout:
    ranks = ranks or 1
    if ranks > 1:
        return Layout(max(devices // ranks, 1), 1, ranks, devices, 1)
    return Layout(max(devices, 1), moe_tp=max(devices, 1))


def _whole(run: Run, column: str) -> int:
    return int(run.number.get(column) or 0)


def _layout(run: Run, model: Architecture, load: str, assumed: list[str]) -> tuple[Layout, int]:
    """Return the layout of a replica, and how many of them share the users."""

    def stated(column: str) -> int | None:
        return _whole(run, column) or None

    routed = _routed(model)
    pp, ep = stated("pp") or 1, stated("ep") or 1
    devices = stated("n_devices") or (stated("tp") or 1) * pp
    tp = stated("tp") or max(1, devices // pp)
    ranks, moe_tp = stated("attention_dp"), stated("moe_tp")
    if ranks is None and routed and moe_tp is not None:
        ranks = max(1, moe_tp * ep // tp)
        if tp * pp * ranks > devices:
            assumed.append(f"moe_tp {moe_tp} asks for more than {devices} devices: not used")
            ranks = max(1, devices // (tp * pp))
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
