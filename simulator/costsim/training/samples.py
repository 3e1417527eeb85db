"""Training counted in samples: images, texts and latents, by copies of a model.

The software it runs in, and the pipeline that reads and decodes its samples, as fitted on measured
runs by benchmarks/calibration/fit_replicated.py (`hardware_specs/calibration/vision.yaml`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np

from costsim.errors import UnknownNameError, suggestion
from costsim.hardware.kernels import soft_maximum
from costsim.resources import packaged_yaml
from costsim.training.software import Software
from costsim.training.strategy import Column

Profile: TypeAlias = Literal["tuned", "eager"]
"""Code made for a competition (captured graphs, fused norms and optimizers), or plain PyTorch of a
repository of examples."""

_WAIT_EXPONENT = 4.0  # of the soft maximum of device and pipeline, as of host and device


@dataclass(frozen=True, slots=True)
class InputPipeline:
    """How fast samples come: seconds of one by one device's process, and by all of a node."""

    device_sample_s: float
    node_sample_s: float


def vision_calibration() -> dict[str, Any]:
    """Return what `hardware_specs/calibration/vision.yaml` holds."""
    return packaged_yaml("hardware_specs", "calibration/vision.yaml")


@cache
def profiles() -> Mapping[str, Software]:
    """Return the software profiles of `calibration/vision.yaml`."""
    table: dict[str, Any] = vision_calibration()["software"]
    return {name: Software(name=name, **fields) for name, fields in table.items()}


def sample_software(name: str) -> Software:
    """Return the profile called `name` of software that trains on samples.

    Raises:
        UnknownNameError: where there is none of that name.
    """
    known = profiles()
    if name not in known:
        raise UnknownNameError(
            f"no training software `{name}` is known for samples",
            hint=suggestion(name, known),
        )
    return known[name]


@cache
def pipelines() -> Mapping[str, InputPipeline]:
    """Return the input pipelines of the same profiles, which decode pictures."""
    table: dict[str, Any] = vision_calibration()["pipelines"]
    return {name: InputPipeline(**fields) for name, fields in table.items()}


def waiting_s(
    pipeline: InputPipeline, of_device: Column | float, of_node: Column | float
) -> Column:
    """Return the seconds that the samples of a step take to come, so many a device and a node."""
    device_s = np.asarray(of_device) * pipeline.device_sample_s
    return np.maximum(device_s, np.asarray(of_node) * pipeline.node_sample_s)


def with_waiting(device_s: Column | float, waited_s: Column | float) -> Column:
    """Return the seconds of a step whose samples may come later than devices take them."""
    device_s, waited_s = np.asarray(device_s, float), np.asarray(waited_s, float)
    return np.where(waited_s > 0, soft_maximum(_WAIT_EXPONENT, device_s, waited_s), device_s)
