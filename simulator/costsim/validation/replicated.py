"""Training by copies of the whole model: rows of image models, encoders and diffusion.

Every device holds all of the model and a share of the batch, and gradients are reduced over all;
where a copy does not fit, it is sharded (ZeRO-3). The step is the training evaluator's; where
pictures are read, it waits for their pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from pathlib import Path

from costsim.hardware.accelerators import Accelerator
from costsim.hardware.catalog import load_hardware
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.precision import precision
from costsim.training.samples import Profile, profiles, vision_calibration
from costsim.training.strategy import Strategies, Strategy
from costsim.validation.devices import device_of
from costsim.validation.frameworks import framework_of
from costsim.validation.interconnect import laid_over
from costsim.validation.named import named_model
from costsim.validation.runs import Run
from costsim.validation.stated import (
    accumulates_as_stated,
    optimizer_of,
    parameters_differ,
    recompute_of,
    sharding_of,
)

USUAL_BATCH = 256
"""Samples of a device where a row states no batch, if memory holds it: as examples train ResNet."""


@dataclass(frozen=True, slots=True)
class Copies:
    """A row as the evaluator takes it. `batch` is of all devices; `stated` if the row says it.

    `samples` are pictures to decode for a device and for a node, none of other families; `assumed`
    says what was put where the row says nothing.
    """

    job: Job
    strategy: Strategy
    profile: Profile
    batch: float
    stated: bool
    samples: tuple[float, float]
    assumed: tuple[str, ...]


def copies_of(run: Run, folder: Path | None = None) -> Copies | str:
    """Return what a row trains and how, or why that cannot be said.

    Args:
        run: the row.
        folder: where a path in its column `config` starts.

    Raises:
        CostsimError: if the device has no system of so many.
    """
    named, device = named_model(run, folder), device_of(run)
    if isinstance(named, str):
        return named
    if isinstance(device, str):
        return device
    if "n_devices" not in run.number:
        return "`n_devices` is empty"
    if run.text.get("task") == "full-run" and "global_batch" not in run.number:
        return "`global_batch` is empty: neither a step nor their number is known"
    if different := parameters_differ(run, named.model, named.counted):
        return different
    recipe = _recipe(run.text.get("precision", ""), device)
    if recipe is None:
        words = run.text.get("precision", "16 bits")
        return f"no rate of precision `{words[:40]}` is known on {device.name}"
    devices = int(run.number["n_devices"])
    system = load_hardware(device.id).with_count(devices)
    system = laid_over(system, run.text.get("interconnect", ""))
    assumed = [f"left out: {named.left_out}"] if named.left_out else []
    if "precision" not in run.text:
        assumed.append(f"precision {recipe}")
    kind = profile_of(run)
    sequence = _sequence(run, named.pads, assumed)
    job = Job(
        model=named.model,
        system=system,
        global_batch=USUAL_BATCH * devices,
        sequence=sequence,
        precision=precision(recipe),
        optimizer=optimizer_of(run)
        or ("sgd_momentum" if run.text.get("family") == "vision" else "adam"),
        software=profiles()[kind],
    )
    stated = "global_batch" in run.number
    if stated:
        batch = run.number["global_batch"]
        micro_batch = run.number.get("micro_batch") or (
            batch / devices / (run.number.get("grad_accum") or 1)
        )
    else:
        micro_batch = run.number.get("micro_batch") or _fitting(job)
        batch = micro_batch * devices
        assumed.append(f"global_batch {batch:.0f}")
    job = replace(job, global_batch=max(1, round(batch)))
    nodes = run.number.get("nodes") or ceil(devices / system.devices_per_node)
    pictures = batch if run.text.get("family") == "vision" else 0.0
    zero, _ = sharding_of(run, devices, system.devices_per_node)
    if zero is None:
        zero = 3 if _states_bytes(job) > device.memory_usable_bytes else 0
        if zero:
            assumed.append("ZeRO-3: a copy does not fit")
    strategy = Strategy(
        dp=devices,
        micro_batch=ceil(micro_batch),
        zero=zero,
        recompute=recompute_of(run) or "none",
    )
    if run.number.get("dp", devices) != devices:
        text = f"dp {run.number['dp']:g} of {devices} devices that hold a copy each"
        run.account.note("contradiction", text, column="dp")
    accumulates_as_stated(run, strategy.dp, strategy.micro_batch, batch)
    samples = (pictures / devices, pictures / nodes)
    return Copies(job, strategy, kind, batch, stated, samples, tuple(assumed))


def profile_of(run: Run) -> Profile:
    """Return which generation of code a row runs."""
    competes = run.text.get("task") == "time-to-quality"
    tuned = framework_of(run, "samples").profile == "tuned"
    return "tuned" if competes or tuned else "eager"


def _recipe(words: str, device: Accelerator) -> str | None:
    """Return the precision recipe of a row: 16 bits where it says nothing."""
    words = words.lower()
    if "fp8" in words:
        wanted = ("fp8",)
    elif "tf32" in words or "fp32" in words:
        wanted = ("tf32", "fp32") if "tf32" in words else ("fp32",)
    elif not words or "16" in words or "amp" in words or "mixed" in words:
        wanted = ("fp16", "bf16", "fp32") if "fp16" in words else ("bf16", "fp16", "fp32")
    else:
        return None
    return next((name for name in wanted if name in device.peaks_flops_per_s), None)


def _sequence(run: Run, pads: bool, assumed: list[str]) -> int:
    """Return the tokens of a sample that are computed; 1 for pictures.

    Short articles leave much of long samples empty, which pre-training of BERT leaves out: by
    joining, by packing, or by batches of equal lengths.
    """
    if run.text.get("family") != "encoder":
        return 1
    length = int(run.number.get("seq_len", 512))
    if "seq_len" not in run.number:
        assumed.append(f"seq_len {length}")
    padding = vision_calibration()["padding"]
    if pads and length >= padding["from_tokens"]:
        assumed.append(f"{padding['real_tokens_ratio']:.0%} of {length} tokens, the rest padding")
        return round(length * padding["real_tokens_ratio"])
    return length


def _states_bytes(job: Job) -> float:
    """Return the bytes of weights, gradients and optimizer of a copy."""
    recipe = job.recipe
    held = recipe.weight_bytes + recipe.gradient_bytes + recipe.master_bytes + job.moment_bytes
    return job.model.parameters * held


@cache
def _fitting(job: Job) -> int:
    """Return the largest power of two, up to the usual batch, that a device's memory holds."""
    sizes = [USUAL_BATCH >> shift for shift in range(USUAL_BATCH.bit_length())]
    devices = job.system.count
    rows = [Strategy(dp=devices, micro_batch=size) for size in sizes]
    memory_bytes = evaluate(job, Strategies.of(rows)).memory_bytes
    capacity = job.system.accelerator.memory_usable_bytes
    return next((s for s, m in zip(sizes, memory_bytes, strict=True) if m <= capacity), 1)
