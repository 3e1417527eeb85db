"""Intervals: how far estimates lie from measurements, from residuals on measured runs."""

from __future__ import annotations

from typing import Any

from costsim.hardware.systems import System
from costsim.resources import packaged_yaml
from costsim.training.losses import is_measured
from costsim.training.samples import vision_calibration

REGIMES = ("sheet_only", "large_scale", "host_bound", "mixture", "known")
"""Kinds of estimates that err differently; the first that fits counts."""

_LARGE_DEVICES = 2048
_HOST_BOUND_RATIO = 0.05


def regime(system: System, devices: int, host_ratio: float, *, mixture: bool = False) -> str:
    """Return the regime of an estimate: one of `REGIMES`.

    `sheet_only` devices are of a class on which no step was measured; at `large_scale` the slowest
    of thousands of devices decides; `host_bound` steps wait for the host for a share `host_ratio`
    of their time that matters; a `mixture` of experts has routing and exchanges of its own.
    """
    if not is_measured(system):
        return "sheet_only"
    if devices > _LARGE_DEVICES:
        return "large_scale"
    if host_ratio > _HOST_BOUND_RATIO:
        return "host_bound"
    return "mixture" if mixture else "known"


def _residuals() -> dict[str, Any]:
    return packaged_yaml("hardware_specs", "calibration/intervals.yaml")


def step_time_interval(
    step_time_s: float,
    system: System,
    devices: int,
    host_ratio: float,
    *,
    mixture: bool = False,
    guessed: bool = False,
    within: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """Return the seconds between which the measured step time falls in 8 of 10 cases.

    Where what is trained is `guessed` in part, the interval is as wide as that of any regime. Where
    a calibration measured `within` what multipliers of an estimate steps of a cluster fall, it is
    that.
    """
    if within is not None and not guessed:
        return step_time_s * within[0], step_time_s * within[1]
    regimes: dict[str, dict[str, float]] = _residuals()["step_time_s"]["regimes"]
    if guessed:
        low = min(row["low_ratio"] for row in regimes.values())
        high = max(row["high_ratio"] for row in regimes.values())
        return step_time_s * low, step_time_s * high
    row = regimes[regime(system, devices, host_ratio, mixture=mixture)]
    return step_time_s * row["low_ratio"], step_time_s * row["high_ratio"]


def sample_step_time_interval(step_time_s: float, profile: str) -> tuple[float, float]:
    """Return the same of training counted in samples, in the software called `profile`."""
    row = vision_calibration()["training_intervals"][profile]
    return step_time_s * row["low_ratio"], step_time_s * row["high_ratio"]


def memory_interval(memory_bytes: float, *, stacked: bool = False) -> tuple[float, float]:
    """Return the bytes between which the measured peak memory falls in 8 of 10 cases.

    `stacked` estimates are of software whose states, layers and loss a stack describes.
    """
    row = _residuals()["memory_bytes_by_stack" if stacked else "memory_bytes_per_device"]
    return memory_bytes * row["low_ratio"], memory_bytes * row["high_ratio"]
