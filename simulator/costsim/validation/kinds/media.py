"""Rows of services that make or read images, video and speech: parsed, and not yet predicted."""

from __future__ import annotations

from collections.abc import Sequence

from costsim.architectures.architecture import Architecture
from costsim.validation.configs import described_model
from costsim.validation.devices import device_of
from costsim.validation.kind import Context, Figure, Kind, each
from costsim.validation.runs import Run

_QUANTITIES = ("latency_s", "samples_per_s", "energy_j_per_sample")


def _case(run: Run, context: Context) -> Architecture | str:
    """Return the model of a row, or why there is none."""
    device = device_of(run)
    if isinstance(device, str):
        return device
    model, _ = described_model(run.text.get("config") or run.text.get("model", ""), context.folder)
    return model


def _predict(cases: Sequence[Architecture], _: Context) -> list[Architecture | str]:
    return ["the time of a whole pipeline of this kind is not predicted" for _ in cases]


def _figures(run: Run, found: Architecture) -> list[Figure]:
    return []


def _measured(run: Run) -> dict[str, float]:
    return {name: run.number[name] for name in _QUANTITIES if run.number.get(name)}


MEDIA: Kind[Architecture, Architecture] = Kind(
    "media", "media", each(_case), _predict, _figures, _measured, "latency_s"
)
