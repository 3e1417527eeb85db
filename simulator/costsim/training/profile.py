"""What one layer costs one device, for each distinct way of dividing the inside of a layer.

Thousands of strategies share a few hundred (tp, sp, cp, ep, etp, micro-batch) combinations, and all
kernel times and weights depend on nothing else; kept activations depend on recomputation besides.
They are computed once for each combination; strategies then gather them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from costsim.architectures.block import Block
from costsim.architectures.operators import Attention, CrossEntropy, Experts, Operator, Rotary
from costsim.architectures.operators.wrapping import rewrapped, unwrapped
from costsim.architectures.tensors import Activation
from costsim.architectures.workload import Shard, Workload
from costsim.compression.adapters import is_adapter
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
from costsim.training.strategy import AXES, Strategies
from costsim.training.transients import peaks

GROUPED_PRODUCTS = (2.0, 4.0)
"""Products of an expert forward and backward: up and down, and two gradients of each."""
EXPERT_CALLS = 0.25
"""Calls of the framework that one expert's product is worth: it is started from C++."""
DISPATCH_CALLS = 200.0
"""Calls of a layer of experts, each way: router, permutation, exchange, waiting for the counts."""
CAPTURED_DISPATCH_CALLS = 75.0
"""The same where router and preprocessing are captured."""


_ROTATED = 2  # queries and keys
ROTATION_CALLS = (_ROTATED * 13.0, _ROTATED * 9.0 * EXPERT_CALLS)
"""Calls that rotate one document, forward and backward, where documents are rotated one by one.

Forward 13 kernels each (Megatron-Core, rope_utils, `_apply_rotary_pos_emb_thd`): a rank's positions
put together, cosine and sine scaled and cast, two products, two halves swapped, a sum, the rest put
beside. Backward nine, which autograd starts from C++.
"""


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
    transient_bytes: np.ndarray  # what lives only inside a backward pass
    logits: np.ndarray  # of the losses of one micro-batch
    capped: np.ndarray  # those of them that a tanh bounds
    loss_bytes: np.ndarray  # of what is kept of them where a block keeps all
    largest: np.ndarray  # trained parameters of the largest tensor
    tied: np.ndarray  # parameters that are another block's
    unpacked: np.ndarray  # bytes of the largest packed matrix in the format of products
    stream: np.ndarray  # elements of what enters a block
    gradients: np.ndarray  # bytes of gradients as they are accumulated, outside experts
    expert_gradients: np.ndarray
    cast: np.ndarray  # bytes of the copies of weights that autocast caches in a forward pass
    weights: np.ndarray  # parameters outside experts
    expert_weights: np.ndarray
    trained: np.ndarray  # parameters of adapters, where all others are frozen
    copied: np.ndarray  # parameters that are trained as a whole, likewise
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
    axes = [name for name, axis in AXES.items() if axis.inside]
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
    recomputed = held = Recomputed.of(strategies, local, execution)
    if job.keeping != execution:
        held = Recomputed.of(strategies, local, job.keeping)
    whole, parts = [*kinds, *recomputed.again(kinds)], [*local, *recomputed.again(local)]
    times = block_times(kernel_model, parts, rows, execution, formats, frozen=job.passes_on)
    exchanged = exchanges(job, whole, parts, few)
    launches = _launches(job, parts, times.launches[..., None] + exchanged.launches)
    if job.documents > 1 and software.rotates_apart and software.graphs == "none":
        launches += _rotation_calls(parts, job.documents * micro_batch * (cp > 1))
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
            repeated=repeated(recomputed, held, job.keeping, recipe, job.kept_widths, forward),
            transient_bytes=_transient(job, local, held.saved, rows),
            logits=_over(local, rows, _logits),
            capped=_over(local, rows, _capped),
            loss_bytes=_over(local, rows, lambda block: _loss_bytes(job, block)),
            largest=_over(local, rows, lambda block: _largest(job, block)),
            tied=_over(local, rows, _tied),
            gradients=_over(local, rows, lambda block: _gradients(job, block, routed=False)),
            expert_gradients=_over(local, rows, lambda block: _gradients(job, block, routed=True)),
            cast=_over(local, rows, lambda block: _cast(job, block)),
            unpacked=_over(local, rows, lambda block: _unpacked(job, block)),
            stream=_over(local, rows, lambda block: block.source.elements),  # pyright: ignore
            weights=weights,
            expert_weights=experts,
            trained=_trained(local, rows, adapters=True) if job.adapted else np.zeros_like(weights),
            copied=_trained(local, rows, adapters=False) if job.adapted else np.zeros_like(weights),
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


def _rotation_calls(local: Sequence[Block], documents: np.ndarray) -> np.ndarray:
    """Return the calls that rotate so many packed documents (rows), one by one."""
    rotates = np.array([any(isinstance(unwrapped(o), Rotary) for o in b.operators) for b in local])
    return np.array(ROTATION_CALLS)[:, None, None] * rotates[:, None] * documents


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


def _trained(blocks: Sequence[Block], rows: int, *, adapters: bool) -> np.ndarray:
    trained = np.zeros((len(blocks), rows))
    for index, block in enumerate(blocks):
        for weight in block.weights():
            if not weight.frozen and is_adapter(weight) == adapters:
                trained[index] += weight.elements
    return trained


def _update_flops(job: Job, kinds: Sequence[Block]) -> np.ndarray:
    if not optimizer(job.optimizer).orthogonalizes or job.frozen:
        return np.zeros(len(kinds))
    return np.array(orthogonalizing_flops(kinds))


def _is_routed(block: Block) -> bool:
    return any(isinstance(unwrapped(operator), Experts) for operator in block.operators)


def _transient(
    job: Job, blocks: Sequence[Block], saved: Sequence[Sequence[Activation]], rows: int
) -> np.ndarray:
    """Bytes that live only inside a backward pass.

    Of fused kernels the largest gradient, as large as what is kept; of eager ones all at once.
    """
    widths = job.kept_widths
    if job.keeping.style == "eager":
        made = 0.0 if job.stack is None else job.made_bytes(job.adapted)
        return peaks(blocks, job.keeping, widths, made, rows)
    largest = np.zeros((len(saved), rows))
    for index, (block, activations) in enumerate(zip(blocks, saved, strict=True)):
        losses = {tensor.name for tensor in _loss_tensors(job, block)}
        for activation in activations:
            if activation.name not in losses:
                size = activation_bytes([activation], widths)
                largest[index] = np.maximum(largest[index], size)
    return largest


def _over(
    blocks: Sequence[Block], rows: int, figure: Callable[[Block], np.ndarray | float]
) -> np.ndarray:
    """Return a figure of each block: (blocks, rows)."""
    found = np.zeros((len(blocks), rows))
    for index, block in enumerate(blocks):
        found[index] = figure(block)
    return found


def _losses(block: Block) -> list[CrossEntropy]:
    bare = (unwrapped(operator) for operator in block.operators)
    return [operator for operator in bare if isinstance(operator, CrossEntropy)]


def _logits(block: Block) -> np.ndarray | float:
    return sum(loss.rows * loss.classes for loss in _losses(block))  # pyright: ignore


def _capped(block: Block) -> np.ndarray | float:
    return sum(loss.rows * loss.classes for loss in _losses(block) if loss.capped)  # pyright: ignore


def _loss_tensors(job: Job, block: Block) -> list[Activation]:
    return [tensor for loss in _losses(block) for tensor in loss.saved(job.keeping)]


def _loss_bytes(job: Job, block: Block) -> np.ndarray | float:
    return activation_bytes(_loss_tensors(job, block), job.kept_widths)


def _largest(job: Job, block: Block) -> np.ndarray | float:
    found: np.ndarray | float = 0.0
    for weight in block.weights():
        if weight.frozen or job.passes_on or weight.tied_to:
            continue
        for shape in weight.tensors:
            found = np.maximum(found, prod(shape))
    return found


def _gradients(job: Job, block: Block, *, routed: bool) -> np.ndarray | float:
    found: np.ndarray | float = 0.0
    if job.passes_on:
        return found
    for weight in block.weights():
        if not weight.frozen and (weight.active_elements is not None) == routed:
            found = found + weight.elements * job.gradient_bytes(is_adapter(weight))
    return found


def _cast(job: Job, block: Block) -> np.ndarray | float:
    if not job.keeping.casts:
        return 0.0
    saved = block.saved(job.keeping)
    copies = [tensor for tensor in saved if tensor.name.endswith(".cast_weight")]
    return activation_bytes(copies, job.kept_widths)


def _unpacked(job: Job, block: Block) -> np.ndarray | float:
    found: np.ndarray | float = 0.0
    for weight in block.weights() if job.stack is not None else ():
        if weight.packing is not None and weight.active_elements is None:
            for shape in weight.tensors:
                found = np.maximum(found, prod(shape) * job.kept_widths["compute"])
    return found


def _tied(block: Block) -> np.ndarray | float:
    return sum(weight.elements for weight in block.weights() if weight.tied_to)  # pyright: ignore


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
