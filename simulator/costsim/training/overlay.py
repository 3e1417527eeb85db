"""Overlays: constants of steps as measured on a cluster, in place of the packaged ones.

`costsim calibrate` writes them. An overlay names only what differs: losses by class of accelerator,
constants by profile of the software.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf

from costsim.hardware.calibration import class_of, load_class
from costsim.training.job import Job

LOSSES_REFINED = (
    "sustained_ratio",
    "sustained_narrow_ratio",
    "sustained_attention_ratio",
    "routing_ratio",
    "contention_ratio",
    "straggler_ratio",
)
"""Fields of `Losses` that measured steps may refine."""
SOFTWARE_REFINED = ("passes_ratio", "launch_s", "step_s")
"""Fields of `Software` that they may refine."""


def most_of(class_name: str, field: str) -> float:
    """Return the largest value that a loss of a class of accelerators can have.

    Products reach the peak at most; a hidden transfer costs no more than one that nothing hides.
    """
    if field == "contention_ratio":
        return 1.0
    kernels = load_class(class_name)
    alone = {
        "sustained_ratio": kernels.gemm.get("bf16"),
        "sustained_narrow_ratio": kernels.gemm.get("fp8"),
        "sustained_attention_ratio": kernels.attention.get("bf16"),
    }.get(field)
    return 1 / alone.compute_ratio if alone else inf


@dataclass(frozen=True, slots=True)
class Overlay:
    """Constants by class of accelerator and by software profile, each a few named fields.

    `within` says, by class of accelerator, between which multipliers of an estimate 8 of 10
    measured steps fall.
    """

    losses: Mapping[str, Mapping[str, float]]
    software: Mapping[str, Mapping[str, float]]
    within: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )

    def apply(self, job: Job) -> Job:
        """Return `job` with the constants of its accelerator's class and of its software."""
        name = class_of(job.system.accelerator.architecture)
        own = self.software.get(job.software.name, {})
        return replace(
            job,
            losses=replace(job.lost, **self.losses.get(name, {})),
            software=replace(job.software, **own),
            within=self.within.get(name),
        )
