"""Scaling laws: what loss a budget buys, and how it is best divided between model and data."""

from costsim.scaling.laws import (
    Division,
    ScalingLaw,
    critical_batch_tokens,
    effective_tokens,
    scaling_law,
    scaling_laws,
)

__all__ = [
    "Division",
    "ScalingLaw",
    "critical_batch_tokens",
    "effective_tokens",
    "scaling_law",
    "scaling_laws",
]
