"""Intervals of serving figures, from residuals on measured runs that were left out of the fit."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from costsim.resources import packaged_yaml

Quantity: TypeAlias = Literal["ttft_s", "tpot_s", "output_tokens_per_s"]


def _residuals() -> dict[str, Any]:
    return packaged_yaml("hardware_specs", "calibration/serving_intervals.yaml")


def serving_interval(quantity: Quantity, value: float, *, routed: bool) -> tuple[float, float]:
    """Return between what a measurement falls in 8 of 10 cases.

    Args:
        quantity: of which `value` is an estimate.
        value: in the unit of the quantity.
        routed: whether the model has routed experts, whose times vary more.
    """
    row = _residuals()[quantity]["routed" if routed else "dense"]
    return value * row["low_ratio"], value * row["high_ratio"]
