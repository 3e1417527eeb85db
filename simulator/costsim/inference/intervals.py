"""Intervals of serving figures, from residuals on measured runs that were left out of the fit."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, TypeAlias

from costsim.resources import data_folder

Quantity: TypeAlias = Literal["ttft_s", "tpot_s", "output_tokens_per_s"]


@cache
def _residuals() -> dict[str, Any]:
    import yaml

    path = data_folder("hardware_specs") / "calibration" / "serving_intervals.yaml"
    loaded: dict[str, Any] = yaml.load(
        path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    return loaded


def serving_interval(quantity: Quantity, value: float, *, routed: bool) -> tuple[float, float]:
    """Return between what a measurement falls in 8 of 10 cases.

    Args:
        quantity: of which `value` is an estimate.
        value: in the unit of the quantity.
        routed: whether the model has routed experts, whose times vary more.
    """
    row = _residuals()[quantity]["routed" if routed else "dense"]
    return value * row["low_ratio"], value * row["high_ratio"]
