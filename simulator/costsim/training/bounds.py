"""A step's least time: what nothing else about a strategy can make shorter.

A search of millions of strategies need not evaluate those that take longer than what it has found
by their kernels alone, or by what they have to send. The bounds are of kernels as slow as they run
in whole steps, of exchanges that nothing can hide, and of the bubble that these leave; all else
only adds to them.
"""

from __future__ import annotations

import numpy as np

from costsim.training.job import Job
from costsim.training.passes import carried_s, slowdown_ratio, uneven_ratio
from costsim.training.pipeline import DUALPIPE, bubble_s
from costsim.training.profile import Profile
from costsim.training.reductions import over_blocks, over_types
from costsim.training.stages import Stages
from costsim.training.strategy import Column, Strategies
from costsim.training.timing import straggling_ratio
from costsim.training.traffic import data_parallel
from costsim.training.updates import optimizer_s, paging_s


def least_kernels_s(job: Job, strategies: Strategies, held: Stages, profiled: Profile) -> Column:
    """Return seconds that the passes of a step take at least, whatever ZeRO and the host hold."""
    forward_s, backward_s = _kernels_s(job, strategies, held, profiled)
    return _step_s(job, strategies, held, profiled, forward_s, backward_s)


def least_step_s(job: Job, strategies: Strategies, held: Stages, profiled: Profile) -> Column:
    """Return seconds that a step takes at least, with its traffic and its update."""
    software, exposed = job.software, 1.0 - job.lost.contention_ratio
    micro_batches = job.global_batch / (strategies.dp * strategies.micro_batch)
    data = data_parallel(job, strategies, held, profiled, micro_batches)
    brought_s = np.zeros_like(held.many)
    if strategies.offload.any():
        brought_s = carried_s(job, strategies, held, profiled)

    def with_traffic(kernels_s: np.ndarray, moved_s: np.ndarray) -> np.ndarray:
        # Of what is sent, computation hides at most as much as it takes, and its own share.
        alone = kernels_s + moved_s * (1.0 - software.overlap_gathers_ratio * exposed)
        return np.maximum(alone, moved_s + brought_s)

    forward_s, backward_s = _kernels_s(job, strategies, held, profiled)
    forward_s = with_traffic(forward_s, data.micro_gather_s)
    backward_s = with_traffic(backward_s, data.micro_gather_s + data.micro_reduce_s)
    reduced_s = data.reduce_s * (1.0 - software.overlap_gradients_ratio * exposed)
    gathered_s = data.gather_s * (1.0 - software.overlap_gathers_ratio * exposed)
    updated_s = optimizer_s(job, strategies, held, profiled)
    paged_s = paging_s(job, strategies, held, profiled, updated_s)
    ends_s = over_types(reduced_s + gathered_s) + over_types(updated_s) + over_types(paged_s)
    passes_s = _step_s(job, strategies, held, profiled, forward_s, backward_s)
    return passes_s + ends_s * (1.0 + straggling_ratio(job, strategies))


def _kernels_s(
    job: Job, strategies: Strategies, held: Stages, profiled: Profile
) -> tuple[np.ndarray, np.ndarray]:
    """Return least seconds (strategies, types) of a micro-batch, forward and backward."""
    exchanged, repeated, software = profiled.exchanged, profiled.repeated, job.software
    slower = slowdown_ratio(job, profiled)
    tensor_ratio = 1.0 - software.overlap_tensor_ratio
    paired = (strategies.schedule == DUALPIPE).any()  # which may hide all exchanges of experts
    routed_ratio = uneven_ratio(job, job.lost) * (1.0 - software.overlap_experts_ratio)
    routed_ratio = 0.0 if paired else routed_ratio
    # Of a layer of each distinct division, by direction, and what recomputation repeats of it.
    once_s = (profiled.parts_s * slower).sum(axis=1)
    once_s = once_s + exchanged.tensor_s * tensor_ratio + exchanged.expert_s * routed_ratio
    again_s = (repeated.parts_s * slower).sum(axis=0)
    again_s = again_s + repeated.tensor_s * tensor_ratio + repeated.expert_s * routed_ratio
    forward_s, backward_s = profiled.gather(once_s[0]), profiled.gather(once_s[1])
    if strategies.recompute.any():
        backward_s = backward_s + profiled.gather_repeated(again_s)
    copies = strategies.copies
    return (
        over_blocks(held.counts, forward_s / copies),
        over_blocks(held.counts, backward_s / copies),
    )


def _step_s(
    job: Job,
    strategies: Strategies,
    held: Stages,
    profiled: Profile,
    forward_s: np.ndarray,
    backward_s: np.ndarray,
) -> Column:
    """Return a step of such passes: with m micro-batches m times the slowest stage, and the bubble.

    Both grow with the time of every stage, so that least passes make a least step; but for which
    of the stages is the slowest, and so the only one for which none waits.
    """
    weight_s = None
    if strategies.schedule.any():
        slower = slowdown_ratio(job, profiled)[0]
        weight_s = profiled.gather(profiled.weight_s * slower) / strategies.copies
        weight_s = over_blocks(held.counts, weight_s)
    stage_s = forward_s + backward_s
    slowest_s = over_types(stage_s)
    waited_s = bubble_s(
        strategies.schedule,
        strategies.pp,
        strategies.vp,
        held.many,
        stage_s,
        slowest_s,
        backward_s,
        weight_s,
        longest=True,
    )
    micro_batches = job.global_batch / (strategies.dp * strategies.micro_batch)
    passes_s = micro_batches * slowest_s + waited_s
    return passes_s * (1.0 + straggling_ratio(job, strategies))
