"""How many samples a benchmark takes to its quality: MLPerf's reference convergence points."""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np

from costsim.resources import packaged_yaml


def _points() -> dict[str, Any]:
    return packaged_yaml("hardware_specs", "calibration/quality.yaml")["models"]


def samples_to_quality(model: str, global_batch: float) -> float | None:
    """Return the samples of a whole run of MLPerf; None where its rules have no such model.

    Args:
        model: the benchmark's model, as runs files write it ("resnet50").
        global_batch: samples of a step; larger ones take more samples to the same quality.
    """
    known = _points().get(model)
    if known is None:
        return None
    points: dict[float, float] = known["epochs"]
    epoch_samples: float = known["epoch_samples"]
    batches = [log(batch) for batch in points]
    logarithm = np.interp(log(global_batch), batches, [log(epochs) for epochs in points.values()])
    return epoch_samples * exp(float(logarithm))
