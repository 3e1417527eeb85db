"""Rows of image models known by their totals: samples a second, forward or in training."""

from __future__ import annotations

from collections.abc import Sequence

from costsim.training.samples import vision_calibration
from costsim.validation.kind import Context, Figure, Kind
from costsim.validation.runs import Run
from costsim.validation.vision import VisionRun, times_s, vision_runs


def measured_samples_per_s(run: Run) -> float | None:
    """Return what a row measured, directly or by its step time."""
    number = run.number
    if "samples_per_s" in number:
        return number["samples_per_s"]
    if number.get("step_time_ms") and "batch" in number:
        return number["batch"] / number["step_time_ms"] * 1e3
    return None


def _predict(rows: Sequence[VisionRun], _: Context) -> list[tuple[VisionRun, float]]:
    """Return each row with the seconds of its step."""
    return list(zip(rows, times_s(rows), strict=True))


def _figures(run: Run, found: tuple[VisionRun, float]) -> list[Figure]:
    row, time_s = found
    rate, limits = row.batch / time_s, vision_calibration()["intervals"][row.regime]
    low, high = rate / limits["high_ratio"], rate / limits["low_ratio"]
    measured = measured_samples_per_s(run)
    return [Figure("samples_per_s", rate, low, high, measured, row.counts.assumed)]


def _measured(run: Run) -> dict[str, float]:
    rate = measured_samples_per_s(run)
    return {"samples_per_s": rate} if rate else {}


TOTALS: Kind[VisionRun, tuple[VisionRun, float]] = Kind(
    "totals",
    "vision",
    lambda runs, _: vision_runs(runs),
    _predict,
    _figures,
    _measured,
    "samples_per_s",
)
