"""Training by copies of the whole model: rows of image models, encoders and diffusion.

Every device holds all of the model and a share of the batch, and gradients are reduced over all;
where a copy does not fit, it is sharded (ZeRO-3). The step is the training evaluator's; where
pictures are read, it waits for their pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil

from costsim.errors import CostsimError
from costsim.hardware.accelerators import Accelerator
from costsim.hardware.catalog import load_hardware
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.precision import precision
from costsim.training.samples import (
    Profile,
    pipelines,
    profiles,
    vision_calibration,
    waiting_s,
    with_waiting,
)
from costsim.training.strategy import Strategies, Strategy
from costsim.validation.devices import device_of
from costsim.validation.interconnect import laid_over
from costsim.validation.named import named_model
from costsim.validation.runs import Run

USUAL_BATCH = 256
"""Samples of a device where a row states no batch, if memory holds it: as examples train ResNet."""
_TUNED = re.compile(r"mxnet|ngc|mlperf|nvidia release|merlin", re.I)
_BERT = re.compile(r"(.*/)?bert-", re.I)


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


@dataclass(frozen=True, slots=True)
class CopiesPrediction:
    """Seconds of a step, and bytes of a device."""

    copies: Copies
    step_time_s: float
    memory_bytes: float


def copies_of(run: Run) -> Copies | str:
    """Return what a row trains and how, or why that cannot be said.

    Raises:
        CostsimError: if the device has no system of so many.
    """
    named, device = named_model(run), device_of(run)
    if isinstance(named, str):
        return named
    if isinstance(device, str):
        return device
    if "n_devices" not in run.number:
        return "`n_devices` is empty"
    if run.text.get("task") == "full-run" and "global_batch" not in run.number:
        return "`global_batch` is empty: neither a step nor their number is known"
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
    sequence = _sequence(run, assumed)
    job = Job(
        model=named.model,
        system=system,
        global_batch=USUAL_BATCH * devices,
        sequence=sequence,
        precision=precision(recipe),
        optimizer="sgd_momentum" if run.text.get("family") == "vision" else "adam",
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
    zero = 3 if _states_bytes(job) > device.memory_usable_bytes else 0
    if zero:
        assumed.append("ZeRO-3: a copy does not fit")
    strategy = Strategy(dp=devices, micro_batch=ceil(micro_batch), zero=zero)
    samples = (pictures / devices, pictures / nodes)
    return Copies(job, strategy, kind, batch, stated, samples, tuple(assumed))


def predict_copies(runs: Sequence[Run]) -> list[CopiesPrediction | str]:
    """Return for every row its prediction, or why there is none."""
    known: dict[tuple[Job, Strategy], tuple[float, float]] = {}
    found: list[CopiesPrediction | str] = []
    for run in runs:
        try:
            copies = run.fault or copies_of(run)
            if isinstance(copies, str):
                found.append(copies)
                continue
            key = (copies.job, copies.strategy)
            if key not in known:
                evaluation = evaluate(copies.job, Strategies.of([copies.strategy]))
                known[key] = float(evaluation.step_time_s[0]), float(evaluation.memory_bytes[0])
        except CostsimError as error:
            found.append(error.problems[0].message)
            continue
        device_s, memory_bytes = known[key]
        waited_s = waiting_s(pipelines()[copies.profile], *copies.samples)
        step_s = float(with_waiting(device_s, waited_s))
        found.append(CopiesPrediction(copies, step_s, memory_bytes))
    return found


def measured_samples_per_s(run: Run) -> float | None:
    """Return the samples a second of all devices that a row measured."""
    number = run.number
    if number.get("samples_per_s_per_gpu") and "n_devices" in number:
        return number["samples_per_s_per_gpu"] * number["n_devices"]
    if number.get("step_time_s") and "global_batch" in number:
        return number["global_batch"] / number["step_time_s"]
    return None


def profile_of(run: Run) -> Profile:
    """Return which generation of code a row runs."""
    competes = run.text.get("task") == "time-to-quality"
    tuned = competes or _TUNED.search(run.text.get("framework", ""))
    return "tuned" if tuned else "eager"


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


def _sequence(run: Run, assumed: list[str]) -> int:
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
    if _BERT.match(run.text.get("model", "")) and length >= padding["from_tokens"]:
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
