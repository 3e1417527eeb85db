"""Timing: how kernels and transfers of a strategy compose into one step."""

from __future__ import annotations

import numpy as np

from costsim.hardware.timing import PARTS
from costsim.training.job import Job
from costsim.training.passes import Pass, one_pass
from costsim.training.pipeline import DUALPIPE, bubble_s
from costsim.training.profile import Profile
from costsim.training.reductions import over_types, total
from costsim.training.samples import waiting_s, with_waiting
from costsim.training.stages import Stages
from costsim.training.strategy import Column, Strategies
from costsim.training.traffic import DataTraffic
from costsim.training.updates import optimizer_s, paging_s

TIME_PARTS = (
    "matrix",
    "attention",
    "memory_bound",
    "recompute",
    "tensor_parallel",
    "context_parallel",
    "expert_parallel",
    "pipeline_transfer",
    "pipeline_bubble",
    "data_parallel",
    "offload",
    "optimizer",
    "host",
    "stragglers",
    "input",
)
_MATRIX, _ATTENTION, _MEMORY = (PARTS.index(part) for part in ("matrix", "attention", "memory"))


def step_times(
    job: Job,
    strategies: Strategies,
    held: Stages,
    profiled: Profile,
    data: DataTraffic,
    micro_batches: Column,
    once: Column,
) -> dict[str, Column]:
    """Return seconds of a step by part, along its critical path: the slowest stage and the bubble.

    `once` is the time of passing a micro-batch over one boundary of stages, one way.
    """
    software, lost = job.software, job.lost
    rows = np.arange(len(strategies))
    forward = one_pass(0, job, strategies, held, profiled, data, lost)
    backward = one_pass(1, job, strategies, held, profiled, data, lost)
    overlapped = overlapped_experts_s(job, strategies, micro_batches, forward, backward)
    backward_s = backward.total_s
    stage_s = forward.total_s + backward_s - overlapped

    # A stage receives once forward and once backward for each chunk of each micro-batch.
    transfer = 2 * strategies.vp * once * (1 - software.overlap_pipeline_ratio)

    worst = stage_s.argmax(axis=1)
    slowest = stage_s[rows, worst]
    bubble = bubble_s(
        strategies.schedule,
        strategies.pp,
        strategies.vp,
        held.many,
        stage_s,
        slowest,
        backward_s,
        backward.weight_s,
    )
    bubble = bubble + (strategies.pp - 1) * 2 * once / strategies.vp

    reduce_s, gather_s = exposed(job, data, forward, backward)
    exchanged = over_types(reduce_s + gather_s)

    updated = optimizer_s(job, strategies, held, profiled)

    def critical(figures: np.ndarray) -> Column:
        return micro_batches * figures[rows, worst]

    times = {
        "matrix": critical(forward.parts_s[_MATRIX] + backward.parts_s[_MATRIX]),
        "attention": critical(forward.parts_s[_ATTENTION] + backward.parts_s[_ATTENTION]),
        "memory_bound": critical(forward.parts_s[_MEMORY] + backward.parts_s[_MEMORY]),
        "recompute": critical(backward.recompute_s),
        "tensor_parallel": critical(forward.tensor_s + backward.tensor_s),
        "context_parallel": critical(forward.context_s + backward.context_s),
        "expert_parallel": critical(forward.expert_s + backward.expert_s - overlapped),
        "pipeline_transfer": micro_batches * transfer,
        "pipeline_bubble": bubble,
        "data_parallel": exchanged + critical(forward.waited_s + backward.waited_s),
        "offload": critical(forward.offload_s + backward.offload_s)
        + over_types(paging_s(job, strategies, held, profiled, updated)),
        "optimizer": over_types(updated),
        "host": critical(forward.host_s + backward.host_s) + software.step_s,
    }
    times["stragglers"] = total(times.values()) * straggling_ratio(job, strategies)
    times["input"] = input_s(job, strategies, total(times.values()))
    return times


def straggling_ratio(job: Job, strategies: Strategies) -> Column:
    """Return what a step loses to the slowest of its nodes, over what it takes without."""
    nodes = np.maximum(strategies.devices / job.system.devices_per_node, 1.0)
    doublings = np.log2(nodes)
    return job.lost.straggler_ratio * doublings / (doublings + 1) * np.sqrt(doublings)


def input_s(job: Job, strategies: Strategies, device_s: Column) -> Column:
    """Return what a step of `device_s` seconds waits for samples to be read and decoded.

    Each replica reads its own; the devices of a node share its processors and disks.
    """
    if job.input is None:
        return np.zeros_like(device_s)
    nodes = np.ceil(strategies.devices / job.system.devices_per_node)
    waited_s = waiting_s(job.input, job.global_batch / strategies.dp, job.global_batch / nodes)
    return with_waiting(device_s, waited_s) - device_s


def overlapped_experts_s(
    job: Job, strategies: Strategies, micro_batches: Column, forward: Pass, backward: Pass
) -> np.ndarray:
    """Seconds of expert-parallel exchanges that hide behind another micro-batch's computation.

    DualPipe pairs a forward with a backward pass; so does 1F1B of software that merges both, where
    there is another micro-batch.
    """
    paired = strategies.schedule == DUALPIPE
    share = job.software.overlap_experts_ratio
    if not paired.any() and not share:
        return np.zeros_like(forward.expert_s)
    both = forward.expert_s + backward.expert_s
    ratio = np.where(paired, 1.0, np.where(micro_batches > 1, share, 0.0))[:, None]
    behind = np.minimum(ratio * both, forward.room_s + backward.room_s)
    return behind * (1 - job.lost.contention_ratio)


def exposed(
    job: Job, data: DataTraffic, forward: Pass, backward: Pass
) -> tuple[np.ndarray, np.ndarray]:
    """Return seconds of reducing gradients and of gathering weights that nothing hides.

    After the last micro-batch's backward pass gradients remain that it could not hide; the gather
    of updated weights hides behind the next step's first forward pass.
    """
    contention = 1 - job.lost.contention_ratio
    reduced = job.software.overlap_gradients_ratio * np.minimum(data.reduce_s, backward.room_s)
    gathered = job.software.overlap_gathers_ratio * np.minimum(data.gather_s, forward.room_s)
    return data.reduce_s - contention * reduced, data.gather_s - contention * gathered
