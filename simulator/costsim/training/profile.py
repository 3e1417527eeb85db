"""What one layer costs one device, for each distinct way of dividing the inside of a layer.

Thousands of strategies share a few hundred (tp, sp, cp, ep, etp, micro-batch) combinations, and all
kernel times and weights depend on nothing else; kept activations depend on recomputation besides.
They are computed once for each combination; strategies then gather them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from costsim.architectures.block import Block
from costsim.architectures.operators import Attention, Experts, Operator
from costsim.architectures.operators.wrapping import rewrapped, unwrapped
from costsim.architectures.tensors import Activation
from costsim.architectures.workload import Shard, Workload
from costsim.hardware.blocks import Formats, block_times
from costsim.hardware.kernels import load_kernel_model
from costsim.training.cp_exchange import ALL_TO_ALL
from costsim.training.exchanges import Exchanges, exchanges
from costsim.training.job import Job
from costsim.training.losses import powered
from costsim.training.optimizers import optimizer, orthogonalizing_flops
from costsim.training.recompute import RECOMPUTE, Recompute
from costsim.training.repeated import (
    Forward,
    Recomputed,
    Repeated,
    activation_bytes,
    repeated,
)
from costsim.training.stages import distinct
from costsim.training.strategy import Strategies

GROUPED_PRODUCTS = (2.0, 4.0)
"""Products of an expert forward and backward: up and down, and two gradients of each."""
EXPERT_CALLS = 0.25
"""Calls of the framework that one expert's product is worth: it is started from C++."""
DISPATCH_CALLS = 150.0
"""Calls of a layer of experts, each way: router, permutation, exchange, waiting for the counts."""
CAPTURED_DISPATCH_CALLS = 75.0
"""The same where router and preprocessing are captured."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Figures of one layer of each distinct block on one device: arrays (blocks, combinations).

    `which` gives the combination of each strategy, `mode` that combined with its recomputation.
    Times are of one micro-batch, of kernels and transfers by themselves; what a step loses against
    them is said in `timing`. `parts_s` is (directions, parts, blocks, combinations). `layer` marks
    the blocks that recomputation repeats.
    """

    which: np.ndarray
    mode: np.ndarray
    layer: np.ndarray
    routed: np.ndarray  # (blocks,): whether it has experts
    parts_s: np.ndarray
    weight_s: np.ndarray  # (blocks, combinations): the backward time of gradients of weights
    exchanged: Exchanges
    launches: np.ndarray  # (directions, blocks, combinations): what the host starts
    repeated: Repeated
    transient_bytes: np.ndarray  # largest tensor that lives only inside a backward pass
    weights: np.ndarray  # parameters outside experts
    expert_weights: np.ndarray
    trained: np.ndarray  # parameters of adapters, where all others are frozen
    update_flops: np.ndarray  # (blocks,): of the optimizer for one layer, undivided

    def gather(self, figures: np.ndarray) -> np.ndarray:
        """Return `figures` (…, combinations) of each strategy (…, strategies)."""
        return np.take(figures, self.which, axis=-1)

    def gather_repeated(self, figures: np.ndarray) -> np.ndarray:
        """Return `figures` (…, modes × combinations) of each strategy (…, strategies)."""
        return np.take(figures, self.mode, axis=-1)

    def take(self, index: np.ndarray | slice) -> Profile:
        """Return the profile of the strategies at `index`."""
        return replace(self, which=self.which[index], mode=self.mode[index])


def profile(job: Job, strategies: Strategies) -> tuple[Profile, tuple[Block, ...]]:
    """Return the profile of `job` under `strategies`, and the distinct blocks it speaks of."""
    axes = ["tp", "sp", "cp", "ep", "etp", "micro_batch"]
    switches = bool((strategies.cp_exchange == ALL_TO_ALL).any())
    first, which = strategies.distinct(*axes, *(["cp_exchange"] if switches else []))
    few = strategies.take(first)
    tp, sp, cp, micro_batch = few.tp, few.sp, few.cp, few.micro_batch
    rows = len(few)
    workload = Workload(micro_batch, job.sequence / cp, float(job.sequence))
    kinds, _ = distinct(job.model.blocks(workload))
    shard = Shard(tp, sp > 0, few.ep, few.etp, cp)
    if switches:  # heads are divided, and keys and values come whole
        switched = few.cp_exchange == ALL_TO_ALL
        shard = replace(shard, cp=np.where(switched, 1.0, cp), cp_heads=np.where(switched, cp, 1.0))
    if job.imbalance_ratio > 1:
        shard = replace(shard, imbalance=np.where(few.ep > 1, job.imbalance_ratio, 1.0))
    local = [block.shard(shard) for block in kinds]
    if job.documents > 1:
        local = [_packed(block, job.documents) for block in local]

    software, recipe = job.software, job.recipe
    execution = job.execution
    formats = Formats(recipe.matrix_dtype, recipe.other_dtype, recipe.activation_bytes)
    kernel_model = load_kernel_model(powered(job.system.accelerator))
    recomputed = Recomputed.of(strategies, local, execution)
    whole, parts = [*kinds, *recomputed.again(kinds)], [*local, *recomputed.again(local)]
    times = block_times(kernel_model, parts, rows, execution, formats, frozen=job.passes_on)
    exchanged = exchanges(job, whole, parts, few)
    launches = _launches(job, parts, times.launches[..., None] + exchanged.launches)
    # Random states of dropped scores are saved and set again wherever scores are computed.
    dropped = software.dropout and software.attention == "unfused"
    scoring = [block.part == "layer" and _has_scores(block) for block in whole]
    launches[0, scoring] += dropped * software.random_state_calls
    forward = Forward(times.seconds[0], launches[0], exchanged)
    own = slice(len(kinds))
    weights, experts = _weights(local, rows, recipe.weight_bytes)
    return (
        Profile(
            which=which,
            mode=_mode_of(strategies, recomputed.modes) * rows + which,
            layer=np.array([block.part == "layer" for block in kinds]),
            routed=np.array([_is_routed(block) for block in kinds]),
            parts_s=times.seconds[:, :, own],
            weight_s=times.weight_s[own],
            exchanged=exchanged.of(own),
            launches=launches[:, own],
            repeated=repeated(recomputed, execution, recipe, forward),
            transient_bytes=_transient(recomputed.saved, recipe.activation_bytes, rows),
            weights=weights,
            expert_weights=experts,
            trained=_trained(local, rows) if job.adapted else np.zeros_like(weights),
            update_flops=_update_flops(job, kinds),
        ),
        kinds,
    )


def _launches(job: Job, local: Sequence[Block], fused: np.ndarray) -> np.ndarray:
    """Return what the host starts: calls (directions, blocks, rows).

    `fused` counts kernels, products of experts as one each. Software that does not capture its
    steps starts those of every local expert by itself, reads from the device how many tokens each
    has got, and calls what permutes and exchanges them.
    """
    graphs = job.software.graphs
    if graphs == "step":
        return np.zeros_like(fused)
    calls = fused.copy() if graphs == "none" else np.zeros_like(fused)
    own = DISPATCH_CALLS if graphs == "none" else CAPTURED_DISPATCH_CALLS
    for index, block in enumerate(local):
        for operator in map(unwrapped, block.operators):
            if isinstance(operator, Experts):
                for way, products in enumerate(GROUPED_PRODUCTS):
                    calls[way, index] += own + EXPERT_CALLS * products * operator.experts
    return calls


def _packed(block: Block, documents: float) -> Block:
    """Return the block where attention stops at the ends of so many documents a sequence."""

    def stops(operator: Operator) -> Operator:
        if isinstance(operator, Attention):
            return replace(operator, documents=documents)
        return operator

    return replace(block, operators=tuple(rewrapped(one, stops) for one in block.operators))


def _mode_of(strategies: Strategies, modes: Sequence[Recompute]) -> np.ndarray:
    """Return which of `modes` each of the strategies has."""
    numbers = np.zeros(len(RECOMPUTE), np.intp)
    numbers[[RECOMPUTE.index(mode) for mode in modes]] = range(len(modes))
    return numbers[strategies.recompute.astype(np.intp)]


def _has_scores(block: Block) -> bool:
    return any(operator.role == "attention" for operator in block.operators)


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


def _transient(
    saved: Sequence[Sequence[Activation]], compute_bytes: float, rows: int
) -> np.ndarray:
    """Bytes of the largest gradient alive inside a backward pass, as large as what is kept."""
    largest = np.zeros((len(saved), rows))
    for index, activations in enumerate(saved):
        for activation in activations:
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
