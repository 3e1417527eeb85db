"""Memory of a training step: what each pipeline stage's device holds at its worst moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costsim.training.job import Job
from costsim.training.offload import LAYERS_RESIDENT
from costsim.training.optimizers import state_bytes_per_parameter
from costsim.training.pipeline import chunks_in_flight
from costsim.training.profile import Profile
from costsim.training.reductions import largest_held, over_blocks, total
from costsim.training.stages import Stages
from costsim.training.strategy import Strategies

MEMORY_PARTS = (
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "buffers",
    "framework",
)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes a device holds by part: arrays (strategies, stage types); absent stages are 0.

    `buffers` are the transient tensors of the worst moment: the gradient of the largest
    activation, gathered weights under ZeRO-3, what recomputation restores of one layer.
    `framework` is the driver's context, communication buffers and the allocator's loss.
    """

    parts: dict[str, np.ndarray]
    host_parts: dict[str, np.ndarray]  # those of them that a device keeps in its host's memory

    @property
    def host_bytes(self) -> np.ndarray:
        """Bytes in the host's memory by strategy and stage type."""
        return total(self.host_parts.values())

    @property
    def total_bytes(self) -> np.ndarray:
        """Bytes by strategy and stage type."""
        return total(self.parts[part] for part in MEMORY_PARTS)


def memory(
    job: Job, strategies: Strategies, stages: Stages, profile: Profile, parts: list[str]
) -> Memory:
    """Return what devices of each stage type hold; `parts` says what each block is."""
    recipe, software = job.recipe, job.software
    counts = stages.counts  # (strategies, types, blocks)
    present = stages.many > 0
    layer = np.array([part == "layer" for part in parts])
    head = np.array([part == "head" for part in parts])

    def held(figures: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Sum a figure (blocks, strategies) over the blocks of each stage type."""
        return over_blocks(counts, figures if mask is None else figures * mask[:, None])

    dense = held(profile.gather(profile.weights))
    experts = held(profile.gather(profile.expert_weights))
    copies = strategies.copies[:, None]
    shards = (strategies.dp * strategies.cp / strategies.replicas)[:, None] * copies
    expert_shards = shards * (strategies.tp / (strategies.ep * strategies.etp))[:, None]
    expert_shards = np.maximum(expert_shards, 1.0)
    zero = strategies.zero[:, None]

    def states(width: float, stage: int) -> np.ndarray:
        """Bytes of a per-parameter state that ZeRO divides from `stage` on."""
        whole = dense + experts
        divided = dense / shards + experts / expert_shards
        return width * np.where(zero >= stage, divided, whole)

    optimizer = states(recipe.master_bytes + job.moment_bytes, 1)
    if job.outer_moment_bytes != job.moment_bytes:
        outer = held(profile.gather(profile.weights), ~layer)
        outer = outer * (job.outer_moment_bytes - job.moment_bytes)
        optimizer = optimizer + np.where(zero >= 1, outer / shards, outer)

    micro_batches = job.global_batch / (strategies.dp * strategies.micro_batch)
    chunks = strategies.vp[:, None]
    flight = chunks_in_flight(
        strategies.schedule[:, None],
        strategies.pp[:, None],
        chunks,
        stages.position,
        micro_batches[:, None],
    )
    # A stage's chunk: of the layers held, the share that one micro-batch passes at a time.
    layers_share, stem_share = flight / chunks / copies, np.ceil(flight / chunks) / copies
    chosen = profile.gather_repeated(profile.repeated.kept_bytes)  # (blocks, strategies)
    stem = ~layer & ~head
    gradients = states(recipe.gradient_bytes, 2)
    if job.adapted:  # adapters are small enough for every replica to keep their states
        adapters = held(profile.gather(profile.trained))
        gradients = gradients + job.precision.gradient_bytes * adapters
        moments = float(state_bytes_per_parameter(job.optimizer))
        optimizer = optimizer + (job.precision.master_bytes + moments) * adapters
    kept_layers = held(chosen, layer) * layers_share
    nothing = np.zeros_like(kept_layers)
    host = {"optimizer": nothing, "activations": nothing}
    if strategies.offload.any():
        gone = strategies.offloads("activations")[:, None]
        largest_layer = largest_held(counts, chosen, layer)
        resident = np.minimum(kept_layers, LAYERS_RESIDENT * largest_layer)
        host["activations"] = np.where(gone, kept_layers - resident, 0.0)
        kept_layers = kept_layers - host["activations"]
        paged = strategies.offloads("optimizer")[:, None]
        host["optimizer"] = np.where(paged, optimizer, 0.0)
        optimizer = np.where(paged, 0.0, optimizer)
    activations = kept_layers + held(chosen, stem) * stem_share + held(chosen, head)

    gradient = largest_held(counts, profile.gather(profile.transient_bytes))
    # Recomputation restores what it dropped one layer at a time.
    restored = gathered = np.zeros_like(gradient)
    if strategies.recompute.any():
        dropped = profile.gather_repeated(profile.repeated.restored_bytes)
        restored = largest_held(counts, dropped, layer)
    # ZeRO-3 gathers the weights of the layer at work and of the next, and holds one layer's
    # gradients until they are scattered.
    sharded = strategies.zero == 3
    if sharded.any():
        per_layer = profile.gather(profile.weights + profile.expert_weights)
        width = 2 * recipe.gathered_bytes + recipe.reduced_bytes
        gathered = largest_held(counts, per_layer * sharded * width)
    found = {
        "weights": states(recipe.weight_bytes, 3),
        "gradients": gradients,
        "optimizer": optimizer,
        "activations": activations,
        "buffers": np.maximum(gradient, restored) + gathered,
    }
    tensors = total(found.values())
    found["framework"] = software.context_bytes + software.reserve_ratio * tensors
    return Memory(
        {part: np.where(present, figure, 0.0) for part, figure in found.items()},
        {part: np.where(present, figure, 0.0) for part, figure in host.items()},
    )
