"""Updates: the optimizer's pass over gradients, states and weights, and what is added before it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from costsim.errors import SpecError
from costsim.hardware.collectives import collective_time_s
from costsim.hardware.kernels import load_kernel_model
from costsim.hardware.streaming import streaming_time_s
from costsim.training.job import Job
from costsim.training.offload import DRIVE_PASSES, NVME, host_rate_bytes_per_s
from costsim.training.optimizers import UPDATE_PASSES, optimizer
from costsim.training.profile import Profile
from costsim.training.reductions import over_blocks, total
from costsim.training.stages import Stages
from costsim.training.strategy import Strategies

_WIDE_BYTES = 4  # of an fp32 value
_SCALED_PASSES = 6  # over gradients: unscaled (2), their norm (1), clipped (2), set to zero (1)


def paging_s(
    job: Job, strategies: Strategies, held: Stages, profiled: Profile, updated_s: np.ndarray
) -> np.ndarray:
    """Seconds (strategies, types) that states on their way from the host and back add to updates.

    Both ways are used at once, and while the update of other states is computed.
    """
    paged = strategies.offloads("optimizer")[:, None]
    if not paged.any() or job.frozen:
        return np.zeros_like(updated_s)
    share = _updated_elements(strategies, held, profiled)
    width = job.recipe.master_bytes + job.moment_bytes
    moved_s = share * (width / host_rate_bytes_per_s(job.system))
    return np.where(paged, np.maximum(moved_s - updated_s, 0.0), 0.0)


def drives_s(job: Job, strategies: Strategies, parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Seconds (strategies, types) that a node's drives take for the bytes of its devices' `parts`.

    None of it is taken to be hidden.

    Raises:
        SpecError: where their bandwidth is not known.
    """
    if not (strategies.offload == NVME).any():
        return np.zeros_like(parts["optimizer"])
    if job.nvme_bytes_per_s is None:
        raise SpecError(
            f"the bandwidth of the NVMe drives of a node of {job.system.name} is not known",
            hint="state it, such as 25 GB/s, or offload `states` to the host's memory",
        )
    moved = total(parts[part] * passes for part, passes in DRIVE_PASSES.items())
    devices = np.minimum(strategies.devices, job.system.devices_per_node)[:, None]
    return moved * devices / job.nvme_bytes_per_s


def _updated_elements(strategies: Strategies, held: Stages, profiled: Profile) -> np.ndarray:
    """Parameters (strategies, types) that one device updates."""
    weights = profiled.gather(profiled.weights + profiled.expert_weights)
    whole = over_blocks(held.counts, weights)
    shards = (strategies.dp * strategies.cp * strategies.copies / strategies.replicas)[:, None]
    return np.where(strategies.zero[:, None] > 0, whole / shards, whole)


def accumulation_s(job: Job, strategies: Strategies, held: Stages, profiled: Profile) -> np.ndarray:
    """Seconds (strategies, types) of adding a micro-batch's gradients to those before it."""
    recipe = job.recipe
    weights = profiled.gather(profiled.weights + profiled.expert_weights)
    whole = over_blocks(held.counts, weights / strategies.copies)
    shards = np.where(strategies.zero >= 2, strategies.dp * strategies.cp / strategies.replicas, 1)
    several = job.global_batch > strategies.dp * strategies.micro_batch
    moved = whole / shards[:, None] * (recipe.gathered_bytes + 2 * recipe.gradient_bytes)
    model = load_kernel_model(job.system.accelerator)
    return streaming_time_s(model, moved * several[:, None])


def optimizer_s(job: Job, strategies: Strategies, held: Stages, profiled: Profile) -> np.ndarray:
    """Seconds (strategies, types) of the update: a pass over gradients, states and weights."""
    recipe = job.recipe
    share = _updated_elements(strategies, held, profiled)
    if job.software.style == "eager" and job.optimizer in UPDATE_PASSES:
        each = _WIDE_BYTES * (UPDATE_PASSES[job.optimizer] + _SCALED_PASSES)
    else:  # fused; so are counted those of plain PyTorch whose operations have no count
        # Gradients are read twice (norm, update); states and master weights read and written.
        each = (
            2 * recipe.gradient_bytes
            + 2 * job.moment_bytes
            + 2 * max(recipe.master_bytes, recipe.weight_bytes)
            + recipe.weight_bytes
            + _WIDE_BYTES * optimizer(job.optimizer).passes
        )
    moved: np.ndarray = share * each
    if job.frozen:
        return np.zeros_like(share)
    kernels = load_kernel_model(job.system.accelerator)
    passes_s = streaming_time_s(kernels, moved, np.array(4.0))
    if not profiled.update_flops.any():
        return passes_s
    # Whole matrices are made orthogonal: dealt out over the shards of ZeRO, and by every rank of
    # a tensor-parallel group, which gathers them first (Liu et al. 2025, arXiv 2502.16982, §2.3).
    dtype = job.recipe.other_dtype
    rate = kernels.peak_flops_per_s(dtype) * kernels.gemm_constants(dtype).compute_ratio
    flops: np.ndarray = (held.counts * profiled.update_flops).sum(axis=2)
    shards = (strategies.dp * strategies.cp * strategies.copies / strategies.replicas)[:, None]
    dealt = np.where(strategies.zero[:, None] > 0, flops / shards, flops)
    dealt = dealt / (strategies.ep * strategies.etp)[:, None] if profiled.routed.any() else dealt
    group = strategies.tp[:, None]
    gathered = share * group * recipe.gathered_bytes
    gather_s = collective_time_s(job.system, "all_gather", gathered, group, 1.0)
    return passes_s + dealt / (rate * job.lost.sustained_ratio) + gather_s
