"""Rows of services that make or read images, video and speech: latency, rate, energy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from costsim.architectures.architecture import Architecture
from costsim.architectures.catalog import load_model
from costsim.errors import CostsimError
from costsim.hardware.catalog import load_hardware
from costsim.hardware.systems import System
from costsim.inference.formats import format_named
from costsim.inference.intervals import MediaQuantity, media_interval
from costsim.inference.media import MediaJob, estimate_media, phase_power
from costsim.inference.phases import estimate_inference
from costsim.inference.pipelines import load_pipeline
from costsim.inference.speech import SpeechJob, speech_rate
from costsim.validation.kind import Context, Figure, Kind, each
from costsim.validation.runs import Run

_QUANTITIES: tuple[MediaQuantity, ...] = ("latency_s", "samples_per_s", "energy_j_per_sample")
_FLAT_OUT = 64  # samples of a batch where throughput alone counts
_HOST_S = 1e-4  # of a batch: its inputs and outputs over the host's links
# Models that benchmarks call by another name than the catalogue.
_NAMES = {
    "resnet": "resnet50",
    "bert-99": "bert-large",
    "bert-large-uncased": "bert-large",
    "distilbert-base-uncased": "distilbert-base",
    "roberta-large": "bert-large",
    "qwen3-embedding-8b": "qwen3-8b",
    "whisper": "whisper-large-v3",
}


@dataclass(frozen=True, slots=True)
class Passed:
    """A model that each of `devices` runs forward on batches of its own."""

    model: Architecture
    system: System
    devices: int
    batch: int
    sequence: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Made:
    """A pipeline, of which `copies` of the job's devices run."""

    job: MediaJob
    copies: int


@dataclass(frozen=True, slots=True)
class MediaCase:
    """What a row runs; `assumed` says what was put where it says nothing."""

    what: Passed | Made | SpeechJob
    assumed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MediaPrediction:
    """What is predicted of a row; None where nothing can be."""

    case: MediaCase
    latency_s: float | None
    samples_per_s: float
    energy_j_per_sample: float | None


def media_case(run: Run, _: Context | None = None) -> MediaCase | str:
    """Return what a row of media runs asks for, or why that cannot be said.

    Raises:
        CostsimError: if its model, device or format is not known.
    """
    assumed: list[str] = []
    system = load_hardware(run.text.get("accelerator_id", ""))
    devices = int(run.number.get("n_devices", 1.0))
    name, task = run.text.get("model", ""), run.text.get("task", "")
    dtype = _format(run, system, assumed)
    if task.startswith("text-to-") or _is_pipeline(name):
        return MediaCase(_made(run, system, devices, dtype, assumed), tuple(assumed))
    short = name.rpartition("/")[2].lower()
    model = load_model(_NAMES.get(short, short))
    batch = int(run.number.get("batch", 0.0))
    scenario = run.text.get("scenario", "").lower()
    if not batch:
        batch = 1 if "single" in scenario or "real time" in scenario else _FLAT_OUT
        batch = 8 if "multistream" in scenario else batch
        assumed.append(f"batch {batch}")
    if task == "speech-to-text":
        return MediaCase(SpeechJob(model, system, devices, batch, dtype), tuple(assumed))
    sequence = int(run.number.get("seq_len", 384.0 if "bert" in name else 1.0))
    return MediaCase(Passed(model, system, devices, batch, sequence, dtype), tuple(assumed))


def _is_pipeline(name: str) -> bool:
    try:
        load_pipeline(name)
    except CostsimError:
        return False
    return True


def _made(run: Run, system: System, devices: int, dtype: str, assumed: list[str]) -> Made:
    pipeline = load_pipeline(run.text.get("model", ""))
    usual = {
        "steps": pipeline.steps,
        "height": pipeline.height,
        "width": pipeline.width,
        "frames": pipeline.frames,
        "batch": 1,
    }
    values: dict[str, int] = {}
    for name, value in usual.items():
        values[name] = int(run.number.get(name) or value)
        if not run.number.get(name) and name not in ("frames", "batch"):
            assumed.append(f"{name} {value}")
    if dtype in ("fp32", "tf32"):
        dtype = "bf16"
        assumed.append("products in 16 bits")
    parallel = run.text.get("parallel", "").lower()
    ulysses, ring = (_degree(parallel, word) for word in ("ulysses", "ring"))
    scenario = run.text.get("scenario", "").lower()
    if not parallel and "single" in scenario:
        ulysses = devices
        assumed.append(f"ulysses {devices}")
    system = system.with_count(max(system.count, ulysses * ring)) if ulysses * ring > 1 else system
    stack = "compiled" if run.text.get("compiled") == "yes" else "eager"
    if "tensorrt" in run.text.get("framework", "").lower() or "mlperf" in scenario:
        stack = "tuned"
    job = MediaJob(
        pipeline,
        system,
        **values,
        ulysses=ulysses,
        ring=ring,
        dtype=dtype,
        stack=stack,
    )
    return Made(job, max(1, devices // job.devices))


def _degree(parallel: str, word: str) -> int:
    found = re.search(rf"{word}\s*(\d+)", parallel)
    return int(found[1]) if found else 1


def _format(run: Run, system: System, assumed: list[str]) -> str:
    """Return the format of products: the first that a row names and the device multiplies in."""
    text = run.text.get("precision", "bf16").lower()
    weights = "weight-only" in text
    word = re.split(r"[ ,_]", text)[0]
    if weights:
        return "w8a16"
    if word in ("fp6", "fp4") and "e" in text.partition("_")[2]:  # weights alone, unpacked
        return "w4a16" if word == "fp4" else "w6a16"
    found = format_named({"fp32": "fp32", "matmul": "bf16"}.get(word, word))
    peaks = system.accelerator.peaks_flops_per_s
    needed = {"nvfp4": "fp4", "mxfp4": "fp4", "fp8": "fp8", "int8": "int8"}.get(found)
    if needed and needed not in peaks:
        other = "fp8" if "fp8" in peaks else "bf16"
        assumed.append(f"products in {other}: the device has none in {found}")
        return other
    return found


def _predict(cases: Sequence[MediaCase], _: Context) -> list[MediaPrediction | str]:
    found: list[MediaPrediction | str] = []
    for case in cases:
        try:
            found.append(_one(case))
        except CostsimError as error:
            found.append("; ".join(problem.message for problem in error.problems))
    return found


def _one(case: MediaCase) -> MediaPrediction:
    what = case.what
    if isinstance(what, Made):
        made = estimate_media(what.job)
        rate = made.samples_per_s * what.copies
        energy = made.energy_j_per_sample if what.job.system.accelerator.tdp_w else None
        return MediaPrediction(case, made.latency_s, rate, energy)
    if isinstance(what, SpeechJob):
        return MediaPrediction(case, None, speech_rate(what), None)
    system = replace(what.system, count=1)
    passed = estimate_inference(
        what.model,
        system,
        phase="forward",
        batch=what.batch,
        sequence=what.sequence,
        precision=what.dtype,
    )
    latency_s = passed.latency_s + _HOST_S
    limit_w = system.accelerator.tdp_w
    energy = None
    if limit_w:
        energy = phase_power().products * limit_w * latency_s / what.batch
    rate = what.batch / latency_s * what.devices
    return MediaPrediction(case, latency_s, rate, energy)


def _measured(run: Run) -> dict[str, float]:
    return {name: run.number[name] for name in _QUANTITIES if run.number.get(name)}


def _figures(run: Run, prediction: MediaPrediction) -> list[Figure]:
    assumed = prediction.case.assumed
    reason = "assumed: " + ", ".join(assumed) if assumed else ""
    made = isinstance(prediction.case.what, Made)
    found: list[Figure] = []
    for name in _QUANTITIES:
        value: float | None = getattr(prediction, name)
        if value is not None:
            limits = media_interval(name, value, diffusion=made)
            found.append(Figure(name, value, *limits, run.number.get(name), reason))
    return found


MEDIA: Kind[MediaCase, MediaPrediction] = Kind(
    "media", "media", each(media_case), _predict, _figures, _measured, "latency_s"
)
