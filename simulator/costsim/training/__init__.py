"""Training: strategies, their memory, traffic and time, one at a time or a whole space at once.

Loaded on use, so that reading a scenario costs no numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from costsim.training.estimate import TrainingEstimate as TrainingEstimate
    from costsim.training.estimate import estimate_training as estimate_training
    from costsim.training.strategy import Strategy as Strategy

_MODULES = {
    "Strategy": "strategy",
    "TrainingEstimate": "estimate",
    "estimate_training": "estimate",
}

__all__ = ["Strategy", "TrainingEstimate", "estimate_training"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
