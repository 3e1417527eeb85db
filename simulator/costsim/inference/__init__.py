"""Inference: passes, memory and steps of a server, its steady state, requests simulated one by one.

Loaded on use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from costsim.inference.deployment import Deployment as Deployment
    from costsim.inference.deployment import simulate as simulate
    from costsim.inference.deployment import simulate_disaggregated as simulate_disaggregated
    from costsim.inference.engines import load_engine as load_engine
    from costsim.inference.layout import Layout as Layout
    from costsim.inference.layout import Quantization as Quantization
    from costsim.inference.metrics import Objective as Objective
    from costsim.inference.phases import InferenceEstimate as InferenceEstimate
    from costsim.inference.phases import estimate_inference as estimate_inference
    from costsim.inference.traces import read_trace as read_trace
    from costsim.inference.traffic import random_traffic as random_traffic

_MODULES = {
    "Deployment": "deployment",
    "InferenceEstimate": "phases",
    "Layout": "layout",
    "Objective": "metrics",
    "Quantization": "layout",
    "estimate_inference": "phases",
    "load_engine": "engines",
    "random_traffic": "traffic",
    "read_trace": "traces",
    "simulate": "deployment",
    "simulate_disaggregated": "deployment",
}

__all__ = [
    "Deployment",
    "InferenceEstimate",
    "Layout",
    "Objective",
    "Quantization",
    "estimate_inference",
    "load_engine",
    "random_traffic",
    "read_trace",
    "simulate",
    "simulate_disaggregated",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
