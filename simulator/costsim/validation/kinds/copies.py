"""Rows that train copies of a whole model: step, samples a second, memory, runs to a quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from costsim.planning.intervals import memory_interval, sample_step_time_interval
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.samples import pipelines, waiting_s, with_waiting
from costsim.training.strategy import Strategies, Strategy
from costsim.validation.kind import Context, Figure, Kind, each, outcomes
from costsim.validation.named import FAMILIES
from costsim.validation.quality import samples_to_quality
from costsim.validation.replicated import Copies, copies_of
from costsim.validation.runs import Run

_GIGA, _HOUR_S = 1e9, 3600.0
_QUALITY = "time-to-quality"


@dataclass(frozen=True, slots=True)
class CopiesPrediction:
    """Seconds of a step, and bytes of a device."""

    copies: Copies
    step_time_s: float
    memory_bytes: float


def predict_copies(runs: Sequence[Run]) -> list[CopiesPrediction | str]:
    """Return for every row its prediction, or why there is none."""
    return outcomes(COPIES, runs)


def measured_samples_per_s(run: Run) -> float | None:
    """Return the samples a second of all devices that a row measured."""
    number = run.number
    if number.get("samples_per_s_per_gpu") and "n_devices" in number:
        return number["samples_per_s_per_gpu"] * number["n_devices"]
    if number.get("step_time_s") and "global_batch" in number:
        return number["global_batch"] / number["step_time_s"]
    return None


def _predict(cases: Sequence[Copies], _: Context) -> list[CopiesPrediction]:
    known: dict[tuple[Job, Strategy], tuple[float, float]] = {}
    found: list[CopiesPrediction] = []
    for copies in cases:
        key = (copies.job, copies.strategy)
        if key not in known:
            evaluation = evaluate(copies.job, Strategies.of([copies.strategy]))
            known[key] = float(evaluation.step_time_s[0]), float(evaluation.memory_bytes[0])
        device_s, memory_bytes = known[key]
        waited_s = waiting_s(pipelines()[copies.profile], *copies.samples)
        step_s = float(with_waiting(device_s, waited_s))
        found.append(CopiesPrediction(copies, step_s, memory_bytes))
    return found


def _measured(run: Run) -> dict[str, float]:
    number, rate = run.number, measured_samples_per_s(run)
    found = {"step_time_s": _measured_step_s(run), "samples_per_s": rate}
    found |= {name: number.get(name) for name in ("gpu_hours", "energy_mwh", "memory_gb_per_gpu")}
    return {name: value for name, value in found.items() if value}


def _measured_step_s(run: Run) -> float | None:
    """Return the seconds of a step of a row that states its batch."""
    number = run.number
    if "global_batch" not in number:
        return None
    if number.get("step_time_s"):
        return number["step_time_s"]
    rate = measured_samples_per_s(run)
    return number["global_batch"] / rate if rate else None


def _figures(run: Run, prediction: CopiesPrediction) -> list[Figure]:
    copies, step_s = prediction.copies, prediction.step_time_s
    low_s, high_s = sample_step_time_interval(step_s, copies.profile)
    reason = "assumed: " + ", ".join(copies.assumed) if copies.assumed else ""
    batch, measured = copies.batch, _measured(run)
    rates = batch / step_s, batch / high_s, batch / low_s
    found = [Figure("samples_per_s", *rates, measured.get("samples_per_s"), reason)]
    if copies.stated:
        step = Figure("step_time_s", step_s, low_s, high_s, measured.get("step_time_s"), reason)
        needed, name = prediction.memory_bytes, "memory_gb_per_gpu"
        memory = Figure(name, needed, *memory_interval(needed), measured.get(name), reason)
        found = [step, *found, memory.scaled(1 / _GIGA)]
    if run.text.get("task") == _QUALITY or "gpu_hours" in measured:
        hours = _hours(run, prediction, measured.get("gpu_hours"), (low_s, high_s), reason)
        found.append(hours)
    return found


def _hours(
    run: Run,
    prediction: CopiesPrediction,
    measured: float | None,
    limits_s: tuple[float, float],
    reason: str,
) -> Figure:
    """Return the device-hours of a whole run to its quality, evaluations left out."""
    copies = prediction.copies
    samples = samples_to_quality(run.text.get("model", ""), copies.batch)
    if samples is None or run.text.get("task") != _QUALITY:
        why = "no rule says how many samples this takes"
        return Figure("gpu_hours", None, measured=measured, reason=why)
    steps_hours = samples / copies.batch * copies.job.system.count / _HOUR_S
    step_s = prediction.step_time_s
    return Figure("gpu_hours", step_s, *limits_s, measured, reason).scaled(steps_hours)


COPIES: Kind[Copies, CopiesPrediction] = Kind(
    "copies",
    "training",
    each(lambda run, context: copies_of(run, context.folder)),
    _predict,
    _figures,
    _measured,
    "step_time_s",
    lambda run: run.text.get("family") in FAMILIES,
)
