"""Inference: passes on a group of devices, their time and memory. Loaded on use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from costsim.inference.phases import InferenceEstimate as InferenceEstimate
    from costsim.inference.phases import estimate_inference as estimate_inference

_MODULES = {"InferenceEstimate": "phases", "estimate_inference": "phases"}

__all__ = ["InferenceEstimate", "estimate_inference"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
