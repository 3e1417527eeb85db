"""Entries of rows that train copies of a whole model: steps, samples, memory, whole runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from costsim.planning.intervals import memory_interval, sample_step_time_interval
from costsim.training.overlay import Overlay
from costsim.validation.entries import Entry, entries
from costsim.validation.named import FAMILIES
from costsim.validation.predict import predict
from costsim.validation.quality import samples_to_quality
from costsim.validation.replicated import (
    CopiesPrediction,
    measured_samples_per_s,
    predict_copies,
)
from costsim.validation.runs import Run

_GIGA, _HOUR_S = 1e9, 3600.0
_QUALITY = "time-to-quality"


def training_entries(runs: Sequence[Run], overlay: Overlay | None = None) -> list[Entry]:
    """Return the entries of all rows of training runs, in their order, whatever their family."""
    copied = [run for run in runs if run.text.get("family") in FAMILIES]
    others = [run for run in runs if run.text.get("family") not in FAMILIES]
    found = copies_entries(copied, predict_copies(copied))
    found += entries(others, predict(others, overlay))
    order = {run.line: index for index, run in enumerate(runs)}
    return sorted(found, key=lambda entry: order[entry.run.line])


def copies_entries(
    runs: Sequence[Run], predictions: Iterable[CopiesPrediction | str]
) -> list[Entry]:
    """Return the entries of rows, in their order."""
    found: list[Entry] = []
    for run, prediction in zip(runs, predictions, strict=True):
        if isinstance(prediction, str):
            found.extend(_unsupported(run, prediction))
        else:
            found.extend(_entries(run, prediction))
    return found


def _unsupported(run: Run, reason: str) -> list[Entry]:
    number = run.number
    measured = {
        "step_time_s": _measured_step_s(run),
        "samples_per_s": measured_samples_per_s(run),
        "gpu_hours": number.get("gpu_hours"),
        "energy_mwh": number.get("energy_mwh"),
        "memory_gb_per_gpu": number.get("memory_gb_per_gpu"),
    }
    known = {name: value for name, value in measured.items() if value is not None}
    return [
        Entry(run, name, None, None, None, value, reason)
        for name, value in (known or {"step_time_s": None}).items()
    ]


def _measured_step_s(run: Run) -> float | None:
    """Return the seconds of a step of a row that states its batch."""
    number = run.number
    if "global_batch" not in number:
        return None
    if number.get("step_time_s"):
        return number["step_time_s"]
    rate = measured_samples_per_s(run)
    return number["global_batch"] / rate if rate else None


def _entries(run: Run, prediction: CopiesPrediction) -> list[Entry]:
    copies, step_s = prediction.copies, prediction.step_time_s
    low_s, high_s = sample_step_time_interval(step_s, copies.profile)
    reason = "assumed: " + ", ".join(copies.assumed) if copies.assumed else ""
    batch, number = copies.batch, run.number
    found: list[Entry] = []
    if copies.stated:
        found.append(
            Entry(run, "step_time_s", step_s, low_s, high_s, _measured_step_s(run), reason)
        )
    found.append(
        Entry(
            run,
            "samples_per_s",
            batch / step_s,
            batch / high_s,
            batch / low_s,
            measured_samples_per_s(run),
            reason,
        )
    )
    if copies.stated:
        low, high = memory_interval(prediction.memory_bytes)
        found.append(
            Entry(
                run,
                "memory_gb_per_gpu",
                prediction.memory_bytes / _GIGA,
                low / _GIGA,
                high / _GIGA,
                number.get("memory_gb_per_gpu"),
                reason,
            )
        )
    if run.text.get("task") == _QUALITY or "gpu_hours" in number:
        found.append(_hours(run, prediction, (low_s, high_s), reason))
    return found


def _hours(
    run: Run, prediction: CopiesPrediction, limits_s: tuple[float, float], reason: str
) -> Entry:
    """Return the device-hours of a whole run to its quality, evaluations left out."""
    measured = run.number.get("gpu_hours")
    copies = prediction.copies
    samples = samples_to_quality(run.text.get("model", ""), copies.batch)
    if samples is None or run.text.get("task") != _QUALITY:
        why = "no rule says how many samples this takes"
        return Entry(run, "gpu_hours", None, None, None, measured, why)
    steps_hours = samples / copies.batch * copies.job.system.count / _HOUR_S
    low_s, high_s = limits_s
    return Entry(
        run,
        "gpu_hours",
        steps_hours * prediction.step_time_s,
        steps_hours * low_s,
        steps_hours * high_s,
        measured,
        reason,
    )
