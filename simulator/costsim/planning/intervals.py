"""Intervals: how far estimates lie from measurements, from residuals on measured runs."""

from __future__ import annotations

from functools import cache
from typing import Any

from costsim.resources import data_folder


@cache
def _residuals() -> dict[str, Any]:
    import yaml

    path = data_folder("hardware_specs") / "calibration" / "intervals.yaml"
    loaded: dict[str, Any] = yaml.load(
        path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    return loaded


def _interval(quantity: str, value: float) -> tuple[float, float]:
    row = _residuals()[quantity]
    return value * row["low_ratio"], value * row["high_ratio"]


def step_time_interval(step_time_s: float) -> tuple[float, float]:
    """Return the seconds between which the measured step time falls in 8 of 10 cases."""
    return _interval("step_time_s", step_time_s)


def memory_interval(memory_bytes: float) -> tuple[float, float]:
    """Return the bytes between which the measured peak memory falls in 8 of 10 cases."""
    return _interval("memory_bytes_per_device", memory_bytes)
