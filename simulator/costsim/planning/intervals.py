"""Intervals: how far estimates lie from measurements, from residuals on measured runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import exp, hypot, log
from statistics import NormalDist
from typing import Any

from costsim.hardware.calibration import class_of
from costsim.hardware.systems import System
from costsim.resources import packaged_yaml
from costsim.training.samples import vision_calibration

UNSURE = (
    "maker_not_measured",
    "class_not_measured",
    "framework_not_measured",
    "format_not_measured",
    "mixture",
    "host_bound",
    "large_scale",
    "layout_searched",
    "guessed",
)
"""Kinds of ignorance: what of an estimate no measured step tells, or tells less surely."""

_LARGE_DEVICES = 2048
_HOST_BOUND_RATIO = 0.05


def unsure_of(
    system: System,
    devices: int,
    host_ratio: float,
    *,
    mixture: bool = False,
    searched: bool = False,
    recipe: str = "",
    software: str = "",
    guessed: bool = False,
) -> tuple[str, ...]:
    """Return the kinds of ignorance, of `UNSURE`, that an estimate is subject to.

    Few steps were measured on the class of its devices (or on any class of their maker's), or with
    its `software`, or none in the format of its precision `recipe`; routing and exchanges of a
    `mixture` of experts vary; steps that wait for the host for a share `host_ratio` of their time
    depend on its processor; of thousands of devices the slowest decides; the layout was `searched`,
    and may not be the one that ran; shape, sequence or network are `guessed`.
    """
    measured = _residuals()["step_time_s"]
    device = system.accelerator
    known = class_of(device.architecture) in measured["classes"]
    holds = {
        "maker_not_measured": not known and device.vendor not in measured["makers"],
        "class_not_measured": not known and device.vendor in measured["makers"],
        "framework_not_measured": bool(software) and software not in measured["software"],
        "format_not_measured": bool(recipe) and recipe not in measured["formats"],
        "mixture": mixture,
        "host_bound": host_ratio > _HOST_BOUND_RATIO,
        "large_scale": devices > _LARGE_DEVICES,
        "layout_searched": searched,
        "guessed": guessed,
    }
    return tuple(name for name in UNSURE if holds[name])


def _residuals() -> dict[str, Any]:
    return packaged_yaml("hardware_specs", "calibration/intervals.yaml")


def step_time_interval(
    step_time_s: float,
    system: System,
    devices: int,
    host_ratio: float,
    *,
    mixture: bool = False,
    searched: bool = False,
    recipe: str = "",
    software: str = "",
    guessed: bool = False,
    within: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """Return the seconds between which the measured step time falls in 8 of 10 cases.

    Widths of the logarithm of time, of each kind of ignorance (`unsure_of`), add in quadrature to
    that of estimates subject to none. Where a calibration measured `within` what multipliers of an
    estimate steps of a cluster fall, it is that.
    """
    if within is not None and not guessed:
        return step_time_s * within[0], step_time_s * within[1]
    kinds = unsure_of(
        system,
        devices,
        host_ratio,
        mixture=mixture,
        searched=searched,
        recipe=recipe,
        software=software,
        guessed=guessed,
    )
    low, high = step_time_limits(_residuals()["step_time_s"], kinds)
    return step_time_s * low, step_time_s * high


def step_time_limits(table: Mapping[str, Any], kinds: Collection[str]) -> tuple[float, float]:
    """Return the multipliers of an estimate that is subject to `kinds` of ignorance."""
    known: Mapping[str, float] = table["known"]
    added = [float(table["widths"][kind]["width"]) for kind in kinds]
    return (
        exp(-hypot(log(known["low_ratio"]), *added)),
        exp(hypot(log(known["high_ratio"]), *added)),
    )


def sample_step_time_interval(step_time_s: float, profile: str) -> tuple[float, float]:
    """Return the same of training counted in samples, in the software called `profile`."""
    row = vision_calibration()["training_intervals"][profile]
    return step_time_s * row["low_ratio"], step_time_s * row["high_ratio"]


CONFIDENCE = 0.9
"""Probability with which something is said to fit: where eight of ten measurements fall between two
limits, one of ten falls above the upper one."""
_Z80 = NormalDist().inv_cdf(CONFIDENCE)  # standard deviations of half an 80 % interval


def fit_probability(low_bytes: float, high_bytes: float, capacity_bytes: float) -> float:
    """Return how likely a measured peak stays below a capacity: lognormal, 80 % of it inside."""
    centre = log(low_bytes * high_bytes) / 2
    deviation = log(high_bytes / low_bytes) / (2 * _Z80)
    return NormalDist(centre, deviation).cdf(log(capacity_bytes))


def usual_reserve(*, stacked: bool = False) -> float:
    """Return the share of a device to leave free so that what fits does so with `CONFIDENCE`."""
    return 1 - 1 / memory_interval(1.0, stacked=stacked)[1]


def memory_interval(memory_bytes: float, *, stacked: bool = False) -> tuple[float, float]:
    """Return the bytes between which the measured peak memory falls in 8 of 10 cases.

    `stacked` estimates are of software whose states, layers and loss a stack describes.
    """
    if stacked:
        of_stacks = packaged_yaml("hardware_specs", "calibration/memory.yaml")
        row = of_stacks["memory_bytes_by_stack"]
    else:
        row = _residuals()["memory_bytes_per_device"]
    return memory_bytes * row["low_ratio"], memory_bytes * row["high_ratio"]
