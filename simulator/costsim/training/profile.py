"""What one layer costs one device, for each distinct way of dividing the inside of a layer.

Thousands of strategies share a few hundred (tp, sp, cp, ep, etp, micro-batch) combinations, and all
kernel times, kept activations and weights depend on nothing else. They are computed once for each
combination; strategies then gather them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from costsim.architectures.block import Block
from costsim.architectures.operators import Experts
from costsim.architectures.operators.wrapping import unwrapped
from costsim.architectures.tensors import Activation
from costsim.architectures.workload import Execution, Shard, Workload
from costsim.hardware.blocks import DIRECTIONS, BlockTimes, Formats, block_times
from costsim.hardware.kernels import load_kernel_model
from costsim.training.exchanges import (
    context_parallel,
    expert_parallel,
    tensor_exchanges,
    tensor_parallel,
)
from costsim.training.job import Job
from costsim.training.losses import powered
from costsim.training.optimizers import optimizer, orthogonalizing_flops
from costsim.training.precision import Precision
from costsim.training.recompute import RECOMPUTE
from costsim.training.stages import distinct
from costsim.training.strategy import Column, Strategies


@dataclass(frozen=True, slots=True)
class Profile:
    """Figures of one layer of each distinct block on one device: arrays (blocks, combinations).

    `which` gives the combination of each strategy. Times are of one micro-batch, of kernels and
    transfers by themselves; what a step loses against them is said in `timing`. `parts_s` is
    (directions, parts, blocks, combinations); `kept_bytes` has a leading axis of recomputation
    modes. `layer` marks the blocks that recomputation repeats.
    """

    which: np.ndarray
    layer: np.ndarray
    routed: np.ndarray  # (blocks,): whether it has experts
    parts_s: np.ndarray
    core_s: np.ndarray  # (blocks, combinations): the forward time of attention proper
    weight_s: np.ndarray  # (blocks, combinations): the backward time of gradients of weights
    tensor_s: np.ndarray  # (directions, blocks, combinations): tensor-parallel exchanges
    ring_s: np.ndarray  # (directions, blocks, combinations): context-parallel exchanges
    expert_s: np.ndarray  # (directions, blocks, combinations): expert-parallel exchanges
    tensor_bytes: np.ndarray  # sent by a device in both directions
    context_bytes: np.ndarray
    expert_bytes: np.ndarray
    launches: np.ndarray  # (directions, blocks, combinations): what the host starts
    kept_bytes: np.ndarray
    transient_bytes: np.ndarray  # largest tensor that lives only inside a backward pass
    weights: np.ndarray  # parameters outside experts
    expert_weights: np.ndarray
    trained: np.ndarray  # parameters of adapters, where all others are frozen
    update_flops: np.ndarray  # (blocks,): of the optimizer for one layer, undivided

    def gather(self, figures: np.ndarray) -> np.ndarray:
        """Return `figures` (…, combinations) of each strategy (…, strategies)."""
        return np.take(figures, self.which, axis=-1)

    def take(self, index: np.ndarray | slice) -> Profile:
        """Return the profile of the strategies at `index`."""
        return replace(self, which=self.which[index])


def profile(job: Job, strategies: Strategies) -> tuple[Profile, tuple[Block, ...]]:
    """Return the profile of `job` under `strategies`, and the distinct blocks it speaks of."""
    first, which = strategies.distinct("tp", "sp", "cp", "ep", "etp", "micro_batch")
    few = strategies.take(first)
    tp, sp, cp, ep, etp, micro_batch = few.tp, few.sp, few.cp, few.ep, few.etp, few.micro_batch
    rows = len(few)
    workload = Workload(micro_batch, job.sequence / cp, float(job.sequence))
    kinds, _ = distinct(job.model.blocks(workload))
    local = [block.shard(Shard(tp, sp > 0, ep, etp, cp)) for block in kinds]

    software, recipe = job.software, job.recipe
    execution = job.execution
    formats = Formats(recipe.matrix_dtype, recipe.other_dtype, recipe.activation_bytes)
    kernel_model = load_kernel_model(powered(job.system.accelerator))
    times = block_times(kernel_model, local, rows, execution, formats, frozen=job.passes_on)
    tensor_s, tensor_bytes = tensor_parallel(job, kinds, tp, sp)
    ring_s, context_bytes = context_parallel(job, local, tp, cp, rows)
    expert_s, expert_bytes = expert_parallel(job, local, ep, etp, rows)
    # Random states of dropped scores are saved and set again wherever scores are computed.
    dropped = software.dropout and software.attention == "unfused"
    drawn = np.zeros((len(DIRECTIONS), len(kinds), rows))
    drawn[0, [block.part == "layer" for block in kinds]] = dropped * software.random_state_calls
    weights, experts = _weights(local, rows, recipe.weight_bytes)
    return (
        Profile(
            which=which,
            layer=np.array([block.part == "layer" for block in kinds]),
            routed=np.array([_is_routed(block) for block in kinds]),
            parts_s=times.seconds,
            core_s=times.core_s,
            weight_s=times.weight_s,
            tensor_s=tensor_s,
            ring_s=ring_s,
            expert_s=expert_s,
            tensor_bytes=tensor_bytes,
            context_bytes=context_bytes,
            expert_bytes=expert_bytes,
            launches=_launches(times, kinds, tp, sp) + drawn,
            kept_bytes=_kept(local, execution, recipe, rows),
            transient_bytes=_transient(local, execution, recipe.activation_bytes, rows),
            weights=weights,
            expert_weights=experts,
            trained=_trained(local, rows) if job.adapted else np.zeros_like(weights),
            update_flops=_update_flops(job, kinds),
        ),
        kinds,
    )


def activation_bytes(activations: Sequence[Activation], compute_bytes: float) -> Column | float:
    """Return the bytes that `activations` take where the compute format takes `compute_bytes`."""
    widths = {"float32": 4, "mask": 1, "index": 8}
    return sum(a.elements * widths.get(a.storage, compute_bytes) for a in activations)


def _launches(times: BlockTimes, kinds: Sequence[Block], tp: Column, sp: Column) -> np.ndarray:
    """What the host starts (directions, blocks, rows).

    Kernels, and a tensor-parallel group's collectives: an event to wait for, and the transfer.
    """
    launches = np.repeat(times.launches[..., None], len(tp), axis=-1)
    for divided in (False, True):
        exchanging = 2.0 * ((tp > 1) & ((sp > 0) == divided))
        for index, block in enumerate(kinds):
            for exchange in tensor_exchanges(block, divided=divided):
                launches[DIRECTIONS.index(exchange.direction), index] += exchanging
    return launches


def _trained(blocks: Sequence[Block], rows: int) -> np.ndarray:
    trained = np.zeros((len(blocks), rows))
    for index, block in enumerate(blocks):
        for weight in block.weights():
            trained[index] += 0 if weight.frozen else weight.elements
    return trained


def _update_flops(job: Job, kinds: Sequence[Block]) -> np.ndarray:
    if not optimizer(job.optimizer).orthogonalizes or job.frozen:
        return np.zeros(len(kinds))
    return np.array(orthogonalizing_flops(kinds))


def _is_routed(block: Block) -> bool:
    return any(isinstance(unwrapped(operator), Experts) for operator in block.operators)


def _kept(
    blocks: Sequence[Block], execution: Execution, recipe: Precision, rows: int
) -> np.ndarray:
    """Bytes kept by one layer for its backward pass: (modes, blocks, rows)."""
    kept = np.zeros((len(RECOMPUTE), len(blocks), rows))
    for index, block in enumerate(blocks):
        saved = block.saved(execution)
        # Inputs of layer matrices that nothing else keeps may be held in the format of products.
        others = {
            a.name for op in block.operators if op.role != "matrix" for a in op.saved(execution)
        }
        narrow = {a.name for a in saved} - others

        def held(activations: Iterable[Activation], narrow: set[str] = narrow) -> Column | float:
            wide = [a for a in activations if a.name not in narrow]
            products = [a for a in activations if a.name in narrow]
            return activation_bytes(wide, recipe.activation_bytes) + activation_bytes(
                products, recipe.product_bytes
            )

        kept[0, index] = held(saved)
        if block.part == "layer":
            kept[1, index] = held([activation for activation in saved if not activation.inner])
            kept[2, index] = activation_bytes([block.source], recipe.activation_bytes)
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


def _weights(
    blocks: Sequence[Block], rows: int, element_bytes: float
) -> tuple[np.ndarray, np.ndarray]:
    """Parameters by block; packed ones as those of `element_bytes` that take as much memory."""
    dense, experts = np.zeros((len(blocks), rows)), np.zeros((len(blocks), rows))
    for index, block in enumerate(blocks):
        for weight in block.weights():
            target = dense if weight.active_elements is None else experts
            if weight.packing is None:
                target[index] += weight.elements
            else:
                target[index] += weight.stored_bytes(element_bytes) / element_bytes
    return dense, experts
