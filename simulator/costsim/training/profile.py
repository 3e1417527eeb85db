"""What one layer costs one device, for each distinct way of dividing the inside of a layer.

Thousands of strategies share a few hundred (tp, sp, cp, ep, etp, micro-batch) combinations, and all
kernel times, kept activations and weights depend on nothing else. They are computed once for each
combination; strategies then gather them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costsim.architectures.block import Block
from costsim.architectures.tensors import Activation
from costsim.architectures.workload import Execution, Shard, Workload
from costsim.hardware.blocks import Formats, block_times
from costsim.hardware.kernels import load_kernel_model
from costsim.training.exchanges import context_parallel, tensor_parallel
from costsim.training.job import Job
from costsim.training.recompute import RECOMPUTE
from costsim.training.stages import distinct
from costsim.training.strategy import Column, Strategies


@dataclass(frozen=True, slots=True)
class Profile:
    """Figures of one layer of each distinct block on one device: arrays (blocks, combinations).

    `which` gives the combination of each strategy. Times are of one micro-batch. `parts_s` is
    (directions, parts, blocks, combinations); `kept_bytes` and `recompute_s` have a leading axis
    of recomputation modes.
    """

    which: np.ndarray
    parts_s: np.ndarray
    recompute_s: np.ndarray
    tensor_s: np.ndarray  # (directions, blocks, combinations): tensor-parallel exchanges
    context_s: np.ndarray  # (directions, blocks, combinations): context-parallel exchanges
    tensor_bytes: np.ndarray  # sent by a device in both directions
    context_bytes: np.ndarray
    kernels: np.ndarray  # (directions, blocks): launches
    kept_bytes: np.ndarray
    transient_bytes: np.ndarray  # largest tensor that lives only inside a backward pass
    weights: np.ndarray  # parameters outside experts
    expert_weights: np.ndarray

    def gather(self, figures: np.ndarray) -> np.ndarray:
        """Return `figures` (…, combinations) of each strategy (…, strategies)."""
        return figures[..., self.which]


def profile(job: Job, strategies: Strategies) -> tuple[Profile, tuple[Block, ...]]:
    """Return the profile of `job` under `strategies`, and the distinct blocks it speaks of."""
    keys = np.stack(
        [
            strategies.tp,
            strategies.sp,
            strategies.cp,
            strategies.ep,
            strategies.etp,
            strategies.micro_batch,
        ],
        axis=1,
    )
    combinations, which = np.unique(keys, axis=0, return_inverse=True)
    tp, sp, cp, ep, etp, micro_batch = combinations.T
    rows = len(combinations)
    workload = Workload(micro_batch, job.sequence / cp, float(job.sequence))
    kinds, _ = distinct(job.model.blocks(workload))
    local = [block.shard(Shard(tp, sp > 0, ep, etp, cp)) for block in kinds]

    software, recipe = job.software, job.recipe
    execution = software.execution
    formats = Formats(recipe.matrix_dtype, recipe.other_dtype, recipe.activation_bytes)
    times = block_times(load_kernel_model(job.system.accelerator), local, rows, execution, formats)
    tensor_s, tensor_bytes = tensor_parallel(job, kinds, tp, sp)
    context_s, context_bytes = context_parallel(job, local, tp, cp, times.core_s, rows)

    layer = np.array([block.part == "layer" for block in kinds])[:, None]
    recompute = np.zeros((len(RECOMPUTE), len(kinds), rows))
    if execution.attention == "unfused":
        recompute[1] = times.core_s * layer
    recompute[2] = (times.total_s[0] + tensor_s[0] + context_s[0]) * layer

    weights, experts = _weights(local, rows)
    return (
        Profile(
            which=which.reshape(-1),
            parts_s=times.seconds,
            recompute_s=recompute,
            tensor_s=tensor_s,
            context_s=context_s,
            tensor_bytes=tensor_bytes,
            context_bytes=context_bytes,
            kernels=times.kernels,
            kept_bytes=_kept(local, execution, recipe.activation_bytes, rows),
            transient_bytes=_transient(local, execution, recipe.activation_bytes, rows),
            weights=weights,
            expert_weights=experts,
        ),
        kinds,
    )


def activation_bytes(activations: Sequence[Activation], compute_bytes: float) -> Column | float:
    """Return the bytes that `activations` take where the compute format takes `compute_bytes`."""
    widths = {"float32": 4, "mask": 1, "index": 8}
    return sum(a.elements * widths.get(a.storage, compute_bytes) for a in activations)


def _kept(
    blocks: Sequence[Block], execution: Execution, compute_bytes: float, rows: int
) -> np.ndarray:
    """Bytes kept by one layer for its backward pass: (modes, blocks, rows)."""
    kept = np.zeros((len(RECOMPUTE), len(blocks), rows))
    for index, block in enumerate(blocks):
        saved = block.saved(execution)
        kept[0, index] = activation_bytes(saved, compute_bytes)
        if block.part == "layer":
            outer = [activation for activation in saved if not activation.inner]
            kept[1, index] = activation_bytes(outer, compute_bytes)
            kept[2, index] = activation_bytes([block.source], compute_bytes)
        else:
            kept[1:, index] = kept[0, index]
    return kept


def _transient(
    blocks: Sequence[Block], execution: Execution, compute_bytes: float, rows: int
) -> np.ndarray:
    """Bytes of the largest gradient alive inside a backward pass, as large as what is kept."""
    largest = np.zeros((len(blocks), rows))
    for index, block in enumerate(blocks):
        for activation in block.saved(execution):
            size = activation_bytes([activation], compute_bytes)
            largest[index] = np.maximum(largest[index], size)
    return largest


def _weights(blocks: Sequence[Block], rows: int) -> tuple[np.ndarray, np.ndarray]:
    dense, experts = np.zeros((len(blocks), rows)), np.zeros((len(blocks), rows))
    for index, block in enumerate(blocks):
        for weight in block.weights():
            target = dense if weight.active_elements is None else experts
            target[index] += weight.elements
    return dense, experts
