"""Intervals of serving figures, from residuals on measured runs that were left out of the fit."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from costsim.resources import packaged_yaml

Quantity: TypeAlias = Literal["ttft_s", "ttft_p99_s", "tpot_s", "output_tokens_per_s"]
MediaQuantity: TypeAlias = Literal["latency_s", "samples_per_s", "energy_j_per_sample"]
# Profiles of engines before their rewrites of 2025, or that few people tune.
OLD_PROFILES = frozenset(
    (
        *("vllm-v0", "vllm-rocm", "vllm-rocm-2024", "tensorrt-llm-0", "tensorrt-llm-0-offline"),
        *("llama.cpp", "mlx", "transformers", "gpt-fast", "optimum-habana", "deepspeed-mii"),
        *("transformers-neuronx",),
    )
)


def _residuals() -> dict[str, Any]:
    return packaged_yaml("hardware_specs", "calibration/serving_intervals.yaml")


def serving_kind(profile: str, load: str, *, routed: bool) -> str:
    """Return the kind of run whose residuals tell how far an estimate is off.

    Args:
        profile: of the engine's constants.
        load: "closed-loop", "open-loop", "burst", "static-batch" or "max-throughput".
        routed: whether the model has routed experts.
    """
    age = "old" if profile in OLD_PROFILES else "generic" if profile == "generic" else "new"
    random = "drained" if load in ("burst", "open-loop") else load
    return f"{age} {random} {'routed' if routed else 'dense'}"


def serving_interval(
    quantity: Quantity, value: float, *, routed: bool, kind: str = ""
) -> tuple[float, float]:
    """Return between what a measurement falls in 8 of 10 cases.

    Args:
        quantity: of which `value` is an estimate.
        value: in the unit of the quantity.
        routed: whether the model has routed experts, whose times vary more.
        kind: as `serving_kind` tells, an engine of these years under users if not given; where it
            has too few runs, all of routed or dense ones count.
    """
    table = _residuals()[quantity]
    model = "routed" if routed else "dense"
    row = table.get(kind or f"new closed-loop {model}") or table[model]
    return value * row["low_ratio"], value * row["high_ratio"]


def media_interval(
    quantity: MediaQuantity, value: float, *, diffusion: bool
) -> tuple[float, float]:
    """Return between what a measurement of images, video or speech falls in 8 of 10 cases."""
    row = _residuals()["media"][quantity]["diffusion" if diffusion else "other"]
    return value * row["low_ratio"], value * row["high_ratio"]
