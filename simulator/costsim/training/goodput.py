"""Goodput: what interruptions, checkpoints and restarts leave of a machine's time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from costsim.resources import packaged_yaml
from costsim.training.job import Job
from costsim.training.optimizers import optimizer


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often one device interrupts the job, and what an interruption and a checkpoint take."""

    device_mtbf_s: float
    restart_s: float
    checkpoint_s: float
    source: str


@dataclass(frozen=True, slots=True)
class Goodput:
    """Useful share of the paid time, and how it comes about."""

    ratio: float
    interruptions_per_day: float
    checkpoint_interval_s: float
    note: str
    source: str


def published_reliability() -> dict[str, Any]:
    """Return the published rates of `hardware_specs/calibration/reliability.yaml`."""
    return packaged_yaml("hardware_specs", "calibration/reliability.yaml")


def checkpoint_bytes(job: Job) -> float:
    """Return bytes of a checkpoint of `job`: weights, master weights and moments, each once.

    However they are divided or repeated while training; frozen weights are not written again.
    """
    recipe, kind = (job.precision if job.frozen else job.recipe), optimizer(job.optimizer)
    total = 0.0
    for block in job.model.blocks():
        for weight in block.weights():
            if job.frozen and (weight.frozen or not job.adapted):
                continue
            copies = recipe.weight_bytes + recipe.master_bytes
            held = copies * float(weight.stored_elements)
            inner = block.part == "layer" and not weight.lookup
            held += sum(float(kind.state_bytes(s, 4, inner=inner)) for s in weight.tensors)
            total += float(block.count) * held
    return total


def reliability(
    checkpoint_bytes_per_device: float,
    *,
    device_mtbf_s: float | None = None,
    restart_s: float | None = None,
    checkpoint_s: float | None = None,
) -> Reliability:
    """Return the stated figures, filled up with published ones.

    A checkpoint stalls the devices for as long as each takes to write its share.
    """
    known = published_reliability()
    stated = [x is not None for x in (device_mtbf_s, restart_s, checkpoint_s)]
    if checkpoint_s is None:
        rate = float(known["checkpoint_bytes_per_s_per_device"]["value"])
        checkpoint_s = checkpoint_bytes_per_device / rate
    source = "stated in the scenario" if all(stated) else known["device_mtbf_s"]["source"]
    return Reliability(
        known["device_mtbf_s"]["value"] if device_mtbf_s is None else device_mtbf_s,
        known["restart_s"]["value"] if restart_s is None else restart_s,
        checkpoint_s,
        source,
    )


def goodput(devices: float, rates: Reliability) -> Goodput:
    """Return the useful share of time with checkpoints at the best interval.

    With M the job's mean time between interruptions and C a checkpoint, the loss C/τ + (τ/2 + R)/M
    is least at τ = √(2CM) (Young 1974; Daly 2006, first order).
    """
    mtbf_s = rates.device_mtbf_s / devices
    interval_s = max(math.sqrt(2 * rates.checkpoint_s * mtbf_s), rates.checkpoint_s, 1.0)
    lost = rates.checkpoint_s / interval_s + (interval_s / 2 + rates.restart_s) / mtbf_s
    ratio = 1 / (1 + lost)  # lost time is itself exposed to interruptions
    per_day = 86_400 / mtbf_s
    note = (
        f"{per_day:.2g} interruptions a day on {devices:,.0f} devices, a checkpoint every "
        f"{interval_s / 60:.0f} min of {rates.checkpoint_s:.0f} s, "
        f"{rates.restart_s / 60:.0f} min to restart"
    )
    return Goodput(ratio, per_day, interval_s, note, rates.source)
