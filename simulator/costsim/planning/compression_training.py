"""What training a compressed model takes, by the strategy that is the fastest."""

from __future__ import annotations

import math

from costsim.architectures import Architecture
from costsim.compression.making import in_training
from costsim.errors import InfeasiblePlanError
from costsim.hardware import System
from costsim.planning.compression_service import Service
from costsim.planning.intervals import step_time_interval
from costsim.planning.scenario import Training
from costsim.planning.search import search
from costsim.training.job import Job
from costsim.training.precision import precision
from costsim.training.software import software
from costsim.training.space import Choices
from costsim.training.strategy import division

_HOUR_S = 3600


def train(model: Architecture, system: System, workload: Training, devices: int) -> Service | str:
    """Return the fastest training run on `devices`, or why there is none.

    Raises:
        UnknownNameError: for a precision or software that is not known, or a missing peak rate.
    """
    own, frozen = in_training(model)
    job = Job(
        model=own,
        system=system.with_count(devices),
        global_batch=workload.global_batch,
        sequence=workload.sequence,
        precision=precision(workload.precision),
        optimizer=workload.optimizer,
        software=software(workload.software),
        frozen=frozen,
    )
    try:
        found = search(job, [devices], Choices(recompute=("none", "full")))
    except InfeasiblePlanError as error:
        return error.problems[0].message
    row = int(found.order[0])
    evaluation = found.evaluation
    step_s = float(evaluation.step_time_s[row])
    steps = math.ceil(workload.tokens / evaluation.tokens_per_step)
    strategy = evaluation.strategies.row(row)
    host_ratio = float(evaluation.time_parts_s["host"][row]) / step_s
    low, high = step_time_interval(
        1.0, job.system, devices, host_ratio, mixture=job.routes, within=job.within
    )
    return Service(
        fleet=f"{devices} x {division(strategy)}" if devices > 1 else "one device",
        devices=devices,
        replica_devices=devices,
        hours=steps * step_s / _HOUR_S,
        latency_s=step_s,
        first_s=None,
        rate_per_s=evaluation.tokens_per_step / step_s,
        units=workload.tokens,
        details={
            "step_time_s": step_s,
            "steps": steps,
            "tokens_per_s": evaluation.tokens_per_step / step_s,
            "memory_bytes_per_device": float(evaluation.memory_bytes[row]),
            "strategy": division(strategy),
        },
        time_low_ratio=low,
        time_high_ratio=high,
    )
