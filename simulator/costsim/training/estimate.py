"""One training estimate: a model, a machine and a strategy, by the engine that the search uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from costsim.architectures.architecture import Architecture
from costsim.errors import SpecError
from costsim.hardware.systems import System
from costsim.training.evaluate import Evaluation, evaluate
from costsim.training.job import Job
from costsim.training.memory import MEMORY_PARTS
from costsim.training.precision import precision as recipe_of
from costsim.training.software import software as profile_of
from costsim.training.strategy import Strategies, Strategy


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """What one step takes. Memory is of the fullest pipeline stage's device."""

    strategy: Strategy
    devices: int
    step_time_s: float
    tokens_per_s: float
    mfu_ratio: float
    hfu_ratio: float
    memory_bytes_per_device: float
    fits: bool
    time_by_part_s: dict[str, float]
    memory_by_part_bytes: dict[str, float]
    sent_bytes_by_axis: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as plain values, keys with their units."""
        return {
            "strategy": self.strategy.to_dict(),
            "devices": self.devices,
            "step_time_s": self.step_time_s,
            "tokens_per_s": self.tokens_per_s,
            "mfu_ratio": self.mfu_ratio,
            "hfu_ratio": self.hfu_ratio,
            "memory_bytes_per_device": self.memory_bytes_per_device,
            "fits": self.fits,
            "time_by_part_s": self.time_by_part_s,
            "memory_by_part_bytes": self.memory_by_part_bytes,
            "sent_bytes_by_axis": self.sent_bytes_by_axis,
        }


def estimate_training(
    model: Architecture,
    system: System,
    strategy: Strategy,
    *,
    global_batch: int,
    sequence: int,
    precision: str = "bf16",
    optimizer: str = "adam",
    software: str = "megatron-core",
) -> TrainingEstimate:
    """Estimate one optimizer step.

    Args:
        model: what is trained.
        system: machine; its count of devices must be what the strategy divides.
        strategy: degrees of parallelism and the rest.
        global_batch: sequences in a step.
        sequence: tokens in a sequence.
        precision: recipe (`costsim.training.precision`).
        optimizer: name (`costsim.training.optimizers`).
        software: profile of the framework.

    Raises:
        SpecError: where devices or batch do not divide as the strategy says.
        UnknownNameError: for a precision, optimizer, profile or peak rate that is not known.
    """
    if strategy.devices != system.count:
        raise SpecError(
            f"the strategy divides {strategy.devices} devices, the system has {system.count}",
            hint="tp x pp x cp x dp is the number of devices",
        )
    if global_batch % (strategy.dp * strategy.micro_batch):
        raise SpecError(
            f"a batch of {global_batch} does not divide into micro-batches of "
            f"{strategy.micro_batch} on {strategy.dp} replicas"
        )
    job = Job(
        model=model,
        system=system,
        global_batch=global_batch,
        sequence=sequence,
        precision=recipe_of(precision),
        optimizer=optimizer,
        software=profile_of(software),
    )
    peak = system.accelerator.peak_flops_per_s(job.precision.peak_dtype) * system.count
    return _first(evaluate(job, Strategies.of([strategy])), strategy, job, peak)


def _first(
    evaluation: Evaluation, strategy: Strategy, job: Job, peak_flops_per_s: float
) -> TrainingEstimate:
    step_s = float(evaluation.step_time_s[0])
    executed = evaluation.model_flops + float(evaluation.recompute_flops[0])
    fullest = int(evaluation.memory.total_bytes[0].argmax())
    memory_bytes = float(evaluation.memory_bytes[0])
    return TrainingEstimate(
        strategy=strategy,
        devices=strategy.devices,
        step_time_s=step_s,
        tokens_per_s=evaluation.tokens_per_step / step_s,
        mfu_ratio=evaluation.model_flops / step_s / peak_flops_per_s,
        hfu_ratio=executed / step_s / peak_flops_per_s,
        memory_bytes_per_device=memory_bytes,
        fits=memory_bytes <= job.system.accelerator.memory_usable_bytes,
        time_by_part_s={n: float(c[0]) for n, c in evaluation.time_parts_s.items()},
        memory_by_part_bytes={
            part: float(evaluation.memory.parts[part][0, fullest]) for part in MEMORY_PARTS
        },
        sent_bytes_by_axis={n: float(c[0]) for n, c in evaluation.sent_bytes.items()},
    )
