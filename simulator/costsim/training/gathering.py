"""Gathered weights: what sharded training holds whole while it works.

FSDP gathers a layer and prefetches the next one; embedding, last norm and head are a unit that
stays gathered. DeepSpeed keeps so many parameters live, beside the buckets of gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costsim.training.job import Job
from costsim.training.profile import Profile
from costsim.training.reductions import largest_held, over_blocks
from costsim.training.strategy import Strategies


@dataclass(frozen=True, slots=True)
class Gathered:
    """Bytes by moment.

    While the loss is made, while the last layer is differentiated (`first`), a layer further down,
    and while the embedding is.
    """

    loss: np.ndarray
    first: np.ndarray
    layers: np.ndarray
    embedding: np.ndarray


def gathered(
    job: Job,
    strategies: Strategies,
    profile: Profile,
    counts: np.ndarray,
    layer: np.ndarray,
) -> Gathered:
    """Return what devices of each stage type hold of gathered weights and buffers of gradients."""
    nothing = np.zeros(counts.shape[:2])
    sharded = strategies.zero == 3
    stack, recipe = job.stack, job.recipe
    weights = profile.gather(profile.weights + profile.expert_weights)
    if stack is None:
        if not sharded.any():
            return Gathered(nothing, nothing, nothing, nothing)
        # The weights of the layer at work and of the next, and one layer's gradients until they
        # are scattered.
        width = 2 * recipe.gathered_bytes + recipe.reduced_bytes
        units = largest_held(counts, weights * sharded * width)
        return Gathered(units, units, units, units)
    copies = _copies(job, strategies, profile, counts, layer)
    if not sharded.any():
        return Gathered(copies, copies, copies, copies)
    if stack.units == "deepspeed":
        everything = over_blocks(counts, weights * sharded)
        largest = largest_held(counts, weights * sharded)
        live = np.minimum(np.maximum(stack.live_elements, largest), everything)
        live = live * recipe.gathered_bytes + copies
        return Gathered(live, live, live, live)
    found = _units(job, strategies, profile, counts, layer, weights)
    chosen = (np.where(sharded[:, None], unit, copies) for unit in found)
    return Gathered(*chosen)


def _copies(
    job: Job, strategies: Strategies, profile: Profile, counts: np.ndarray, layer: np.ndarray
) -> np.ndarray:
    """Return bytes of buckets: as large as all gradients, or of a stated size."""
    stack = job.stack
    shared = (strategies.dp * strategies.cp > 1)[:, None]
    if stack is None:
        return np.zeros(counts.shape[:2])
    if stack.bucket_elements:
        trained = over_blocks(counts, profile.gather(profile.gradients)) / job.gradient_bytes(
            job.adapted
        )
        elements = np.minimum(2 * stack.bucket_elements, trained)
        return np.where(shared, elements * job.recipe.gathered_bytes, 0.0)
    if stack.buckets != "copies":
        return np.zeros(counts.shape[:2])
    of_all = over_blocks(counts, profile.gather(profile.gradients + profile.expert_gradients))
    if profile.tied.any() and not job.frozen:
        tied = over_blocks(counts, profile.gather(profile.tied)) * job.recipe.gradient_bytes
        of_all = np.where((counts[..., ~layer] > 0).sum(axis=-1) > 1, of_all - tied, of_all)
    # Buckets are in the parameters' format, and stay where ranks divide the optimizer alone.
    width = job.recipe.weight_bytes if not job.frozen else job.adapter_bytes[0]
    of_all = of_all * (width / max(job.gradient_bytes(job.adapted), 1.0))
    return np.where(shared & (strategies.zero <= 1)[:, None], of_all, 0.0)


def _units(
    job: Job,
    strategies: Strategies,
    profile: Profile,
    counts: np.ndarray,
    layer: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return what FSDP holds: a unit a layer; embedding, last norm and head are the root's.

    Under pipeline stages a stage stays gathered from one micro-batch to the next, and its gradients
    whole until the last.
    """
    stack, recipe = job.stack, job.recipe
    assert stack is not None
    trained = profile.gather(profile.gradients + profile.expert_gradients)
    trained = trained / max(job.gradient_bytes(job.adapted), 1.0)
    wide, made, reduced = recipe.gathered_bytes, job.made_bytes(job.adapted), recipe.reduced_bytes
    one, every = largest_held(counts, weights, layer), over_blocks(counts, weights * layer[:, None])
    outer = over_blocks(counts, weights * ~layer[:, None])
    if profile.tied.any():
        tied = over_blocks(counts, profile.gather(profile.tied))
        outer = np.where((counts[..., ~layer] > 0).sum(axis=-1) > 1, outer - tied, outer)
    root = outer * wide
    one_gradient = largest_held(counts, trained, layer)
    scattered = one_gradient * reduced  # of the layer before, on its way
    own = over_blocks(counts, trained * ~layer[:, None])
    if profile.tied.any():
        own = np.minimum(own, outer)
    # The root's gradients are made whole and copied into one buffer; half of them are gone when
    # the shard is scattered out of it, and cast to the parameters' format.
    shards = (strategies.dp * strategies.cp / strategies.replicas)[:, None]
    cast = recipe.gradient_bytes if reduced < recipe.gradient_bytes else 0.0
    ends = own * np.maximum(made + reduced, made / 2 + reduced + (reduced + cast) / shards)
    loss = root + np.where(stack.reshard, np.minimum(one, every), every) * wide
    first = root + np.where(stack.reshard, np.minimum(2 * one, every), every) * wide
    layers = root + np.minimum(2 * one, every) * wide + scattered
    piped = (strategies.pp > 1)[:, None]
    if piped.any():
        whole = (every + outer) * wide + over_blocks(counts, trained) * reduced
        loss, first, layers = (np.where(piped, whole, unit) for unit in (loss, first, layers))
    return loss, first, layers, ends
