"""Traffic between replicas and stages: gradients, gathered weights, boundary activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costsim.hardware.collectives import Operation, collective_time_s
from costsim.training.job import Job
from costsim.training.profile import Profile
from costsim.training.reductions import over_blocks
from costsim.training.stages import Stages
from costsim.training.strategy import AXES, Column, Strategies


@dataclass(frozen=True, slots=True)
class DataTraffic:
    """What data parallelism exchanges: seconds and sent bytes (strategies, stage types).

    Once a step: gradients reduced (`reduce_s`) and updated weights gathered (`gather_s`). Under
    ZeRO-2 gradients are reduced, and under ZeRO-3 weights gathered twice, every micro-batch
    (`micro_…`).
    """

    reduce_s: np.ndarray
    gather_s: np.ndarray
    micro_gather_s: np.ndarray
    micro_reduce_s: np.ndarray
    sent_bytes: np.ndarray


@dataclass(frozen=True, slots=True)
class _Collectives:
    """Seconds of each collective over a stage's parameters: (strategies, stage types).

    `between_s` adds up the shards of copies of a sharded model (HSDP); `ring_elements` is what a
    ring sends from each device for one gathering or scattering.
    """

    reduced_s: np.ndarray
    scattered_s: np.ndarray
    gathered_s: np.ndarray
    between_s: np.ndarray
    ring_elements: np.ndarray


def data_parallel(
    job: Job, strategies: Strategies, stages: Stages, profile: Profile, micro_batches: Column
) -> DataTraffic:
    """Return the exchanges of each stage type's data-parallel group (its stride is tp)."""
    # Strategies that differ in these alone share their collectives.
    axes = [name for name, axis in AXES.items() if axis.reduces]
    first, which = strategies.distinct(*axes)
    few = _collectives(
        job, strategies.take(first), stages.take(first), profile.take(first), strategies.zero
    )
    reduced, scattered, gathered = (
        figure[which] for figure in (few.reduced_s, few.scattered_s, few.gathered_s)
    )
    recipe, zero, each = job.recipe, strategies.zero[:, None], micro_batches[:, None]
    nothing = np.zeros_like(reduced)
    widths = np.select(
        [zero == 0, zero == 1, zero == 2],
        [
            2.0 * recipe.reduced_bytes,
            1.0 * recipe.reduced_bytes + recipe.gathered_bytes,
            each * recipe.reduced_bytes + recipe.gathered_bytes,
        ],
        each * (recipe.reduced_bytes + 2.0 * recipe.gathered_bytes),
    )
    sent = few.ring_elements[which] * widths
    # Of the stages that a device holds, one is passed at a time.
    copies = strategies.copies[:, None]
    micro_gather = np.where(zero == 3, gathered / copies, nothing)
    if job.frozen:
        return DataTraffic(nothing, nothing, micro_gather, nothing, sent)
    once = np.select([zero == 0, zero == 1], [reduced, scattered], nothing)
    return DataTraffic(
        reduce_s=once + few.between_s[which],
        gather_s=np.where((zero == 1) | (zero == 2), gathered, nothing),
        micro_gather_s=micro_gather,
        micro_reduce_s=np.where(zero >= 2, scattered / copies, nothing),
        sent_bytes=sent,
    )


def _collectives(
    job: Job, strategies: Strategies, stages: Stages, profile: Profile, zero: np.ndarray
) -> _Collectives:
    """Time the collectives that any of the ZeRO stages in `zero` needs."""
    recipe = job.recipe
    dense = over_blocks(stages.counts, profile.gather(profile.weights))
    dense = dense - _held_twice(stages, profile)
    experts = over_blocks(stages.counts, profile.gather(profile.expert_weights))
    replicas = strategies.replicas[:, None]
    group = (strategies.dp * strategies.cp * strategies.copies)[:, None] / replicas
    stride = strategies.tp[:, None]
    # Ranks that hold the same experts: all that tp, cp and dp make but the ep·etp of a full set.
    expert_stride = (strategies.ep * strategies.etp)[:, None]
    expert_group = np.maximum(group * stride / expert_stride, 1.0)

    def time(operation: Operation, width: float, used: np.ndarray) -> np.ndarray:
        if not used.any():
            return np.zeros_like(dense)
        whole = collective_time_s(job.system, operation, dense * width, group, stride)
        if not experts.any():
            return whole
        return whole + collective_time_s(
            job.system, operation, experts * width, expert_group, expert_stride
        )

    shard = (dense + experts) / group * recipe.reduced_bytes
    between_s = np.zeros_like(dense)
    if (replicas > 1).any():
        between_s = collective_time_s(job.system, "all_reduce", shard, replicas, stride * group)
    return _Collectives(
        reduced_s=time("all_reduce", recipe.reduced_bytes, zero == 0),
        scattered_s=time("reduce_scatter", recipe.reduced_bytes, zero > 0),
        gathered_s=time("all_gather", recipe.gathered_bytes, zero > 0),
        between_s=between_s,
        ring_elements=dense * (group - 1) / group + experts * (expert_group - 1) / expert_group,
    )


def _held_twice(stages: Stages, profile: Profile) -> np.ndarray | float:
    """Return the parameters of heads that share an embedding's storage on the same stage."""
    if not profile.tied.any():
        return 0.0
    head = profile.tied.any(axis=1)
    both = (stages.counts[..., ~profile.layer & ~head] > 0).any(axis=-1)
    return np.where(both, over_blocks(stages.counts, profile.gather(profile.tied)), 0.0)


def pipeline_transfer(job: Job, strategies: Strategies, hidden: float) -> tuple[Column, Column]:
    """Return seconds and bytes of passing one micro-batch over one stage boundary, one way.

    Each tensor-parallel rank sends its share of the activation; where positions are not divided
    already, the receiver gathers the shares (Narayanan et al. 2021, §4.1). Software that does not
    divide the boundary sends the whole from every rank.
    """
    if not (strategies.pp > 1).any():
        return np.zeros_like(strategies.pp), np.zeros_like(strategies.pp)
    elements = strategies.micro_batch * job.sequence / strategies.cp * hidden
    size = elements * job.recipe.activation_bytes
    stride = strategies.tp * strategies.cp * strategies.dp
    divided = (strategies.sp > 0) | job.software.divides_boundary
    sent = np.where(divided, size / strategies.tp, size)
    send = collective_time_s(job.system, "send_recv", sent, strategies.pp, stride)
    gathers = divided & (strategies.sp == 0)
    seconds = send
    if gathers.any():
        gather = collective_time_s(job.system, "all_gather", size, strategies.tp, 1.0)
        seconds = send + np.where(gathers, gather, 0.0)
    return np.where(strategies.pp > 1, seconds, 0.0), np.where(strategies.pp > 1, sent, 0.0)
