"""Traffic between replicas and stages: gradients, gathered weights, boundary activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costsim.hardware.collectives import Operation, collective_time_s
from costsim.training.job import Job
from costsim.training.profile import Profile
from costsim.training.stages import Stages
from costsim.training.strategy import Column, Strategies


@dataclass(frozen=True, slots=True)
class DataTraffic:
    """What data parallelism exchanges: seconds and sent bytes (strategies, stage types).

    Once a step: gradients reduced (`reduce_s`) and updated weights gathered (`gather_s`). Under
    ZeRO-2 gradients are reduced, and under ZeRO-3 weights gathered twice, every micro-batch
    (`micro_s`).
    """

    reduce_s: np.ndarray
    gather_s: np.ndarray
    micro_gather_s: np.ndarray
    micro_reduce_s: np.ndarray
    sent_bytes: np.ndarray


def data_parallel(
    job: Job, strategies: Strategies, stages: Stages, profile: Profile, micro_batches: Column
) -> DataTraffic:
    """Return the exchanges of each stage type's data-parallel group (its stride is tp)."""
    recipe = job.recipe
    dense = np.einsum("rtk,kr->rt", stages.counts, profile.gather(profile.weights))
    experts = np.einsum("rtk,kr->rt", stages.counts, profile.gather(profile.expert_weights))
    replicas = strategies.replicas[:, None]
    group = (strategies.dp * strategies.cp)[:, None] / replicas
    stride = strategies.tp[:, None]
    expert_group = np.maximum(
        group * strategies.etp[:, None] / (strategies.ep * strategies.tp)[:, None], 1.0
    )
    expert_stride = stride * strategies.ep[:, None] / strategies.etp[:, None]
    zero = strategies.zero[:, None]

    def time(operation: Operation, width: float) -> np.ndarray:
        whole = collective_time_s(job.system, operation, dense * width, group, stride)
        return whole + np.where(
            experts > 0,
            collective_time_s(
                job.system, operation, experts * width, expert_group, np.maximum(expert_stride, 1.0)
            ),
            0.0,
        )

    reduced = time("all_reduce", recipe.reduced_bytes)
    scattered = time("reduce_scatter", recipe.reduced_bytes)
    gathered = time("all_gather", recipe.gathered_bytes)
    nothing = np.zeros_like(dense)
    each = micro_batches[:, None]
    ring = (group - 1) / group
    ring_experts = (expert_group - 1) / expert_group
    weight = dense * ring + experts * ring_experts
    sent = weight * np.select(
        [zero == 0, zero == 1, zero == 2],
        [
            np.full_like(weight, 2.0 * recipe.reduced_bytes),
            np.full_like(weight, 1.0 * recipe.reduced_bytes + recipe.gathered_bytes),
            each * recipe.reduced_bytes + recipe.gathered_bytes,
        ],
        each * (recipe.reduced_bytes + 2.0 * recipe.gathered_bytes),
    )
    # Copies of a sharded model (HSDP) add up their shards of the gradients once a step.
    shard = (dense + experts) / group * recipe.reduced_bytes
    between = collective_time_s(job.system, "all_reduce", shard, replicas, stride * group)
    once = np.select([zero == 0, zero == 1], [reduced, scattered], nothing)
    if job.frozen:
        once, between, scattered, gathered_once = nothing, nothing, nothing, nothing
    else:
        gathered_once = gathered
    return DataTraffic(
        reduce_s=once + between,
        gather_s=np.where((zero == 1) | (zero == 2), gathered_once, nothing),
        micro_gather_s=np.where(zero == 3, gathered, nothing),
        micro_reduce_s=np.where(zero >= 2, scattered, nothing),
        sent_bytes=sent,
    )


def pipeline_transfer(job: Job, strategies: Strategies, hidden: float) -> tuple[Column, Column]:
    """Return seconds and bytes of passing one micro-batch over one stage boundary, one way.

    Each tensor-parallel rank sends its share of the activation; where positions are not divided
    already, the receiver gathers the shares (Narayanan et al. 2021, §4.1). Software that does not
    divide the boundary sends the whole from every rank.
    """
    elements = strategies.micro_batch * job.sequence / strategies.cp * hidden
    size = elements * job.recipe.activation_bytes
    stride = strategies.tp * strategies.cp * strategies.dp
    divided = (strategies.sp > 0) | job.software.divides_boundary
    sent = np.where(divided, size / strategies.tp, size)
    send = collective_time_s(job.system, "send_recv", sent, strategies.pp, stride)
    gather = collective_time_s(job.system, "all_gather", size, strategies.tp, 1.0)
    seconds = send + np.where(divided & (strategies.sp == 0), gather, 0.0)
    return np.where(strategies.pp > 1, seconds, 0.0), np.where(strategies.pp > 1, sent, 0.0)
