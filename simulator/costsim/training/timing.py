"""Timing: how kernels and transfers of a strategy compose into one step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costsim.hardware.collectives import collective_time_s
from costsim.hardware.hosts import host_ratio
from costsim.hardware.kernels import load_kernel_model, soft_maximum
from costsim.hardware.streaming import streaming_time_s
from costsim.hardware.timing import PARTS
from costsim.training.cp_exchange import ALL_TO_ALL
from costsim.training.job import Job
from costsim.training.losses import Losses
from costsim.training.offload import host_rate_bytes_per_s
from costsim.training.optimizers import UPDATE_PASSES, optimizer
from costsim.training.pipeline import DUALPIPE, bubble_s
from costsim.training.profile import Profile
from costsim.training.reductions import over_blocks, over_types, total
from costsim.training.samples import waiting_s, with_waiting
from costsim.training.stages import Stages
from costsim.training.strategy import Column, Strategies
from costsim.training.traffic import DataTraffic

TIME_PARTS = (
    "matrix",
    "attention",
    "memory_bound",
    "recompute",
    "tensor_parallel",
    "context_parallel",
    "expert_parallel",
    "pipeline_transfer",
    "pipeline_bubble",
    "data_parallel",
    "offload",
    "optimizer",
    "host",
    "stragglers",
    "input",
)
_WIDE_BYTES = 4  # of an fp32 value
_SCALED_PASSES = 6  # over gradients: unscaled (2), their norm (1), clipped (2), set to zero (1)
_HOST_EXPONENT = 4.0
"""p of the soft maximum of host and device: either runs ahead of the other in parts of a pass."""
_MATRIX, _ATTENTION, _MEMORY = (PARTS.index(part) for part in ("matrix", "attention", "memory"))


@dataclass(frozen=True, slots=True)
class Pass:
    """Seconds of one micro-batch on every stage type, of one direction: (strategies, types).

    Of exchanges, what computation does not hide; `hidden_s` is the rest, by kind.
    """

    parts_s: list[np.ndarray]
    recompute_s: np.ndarray
    busy_s: np.ndarray  # of all that computes
    tensor_s: np.ndarray
    context_s: np.ndarray
    expert_s: np.ndarray
    waited_s: np.ndarray  # for gathers and reductions of ZeRO-2 and 3
    host_s: np.ndarray
    offload_s: np.ndarray  # for activations on their way to the host or back
    hidden_s: dict[str, np.ndarray]
    room_s: np.ndarray  # of computation and of waiting for the host, with nothing hidden yet
    weight_s: np.ndarray | None  # of gradients of weights, where a schedule needs it

    @property
    def total_s(self) -> np.ndarray:
        exchanged = self.tensor_s + self.context_s + self.expert_s + self.waited_s
        return self.busy_s + exchanged + self.host_s + self.offload_s


def step_times(
    job: Job,
    strategies: Strategies,
    held: Stages,
    profiled: Profile,
    data: DataTraffic,
    micro_batches: Column,
    once: Column,
) -> dict[str, Column]:
    """Return seconds of a step by part, along its critical path: the slowest stage and the bubble.

    `once` is the time of passing a micro-batch over one boundary of stages, one way.
    """
    software, lost = job.software, job.lost
    rows = np.arange(len(strategies))
    forward = one_pass(0, job, strategies, held, profiled, data, lost)
    backward = one_pass(1, job, strategies, held, profiled, data, lost)
    overlapped = overlapped_experts_s(job, strategies, micro_batches, forward, backward)
    backward_s = backward.total_s
    stage_s = forward.total_s + backward_s - overlapped

    # A stage receives once forward and once backward for each chunk of each micro-batch.
    transfer = 2 * strategies.vp * once * (1 - software.overlap_pipeline_ratio)

    worst = stage_s.argmax(axis=1)
    slowest = stage_s[rows, worst]
    bubble = bubble_s(
        strategies.schedule,
        strategies.pp,
        strategies.vp,
        held.many,
        stage_s,
        slowest,
        backward_s,
        backward.weight_s,
    )
    bubble = bubble + (strategies.pp - 1) * 2 * once / strategies.vp

    reduce_s, gather_s = exposed(job, data, forward, backward)
    exchanged = over_types(reduce_s + gather_s)

    updated = optimizer_s(job, strategies, held, profiled)

    def critical(figures: np.ndarray) -> Column:
        return micro_batches * figures[rows, worst]

    times = {
        "matrix": critical(forward.parts_s[_MATRIX] + backward.parts_s[_MATRIX]),
        "attention": critical(forward.parts_s[_ATTENTION] + backward.parts_s[_ATTENTION]),
        "memory_bound": critical(forward.parts_s[_MEMORY] + backward.parts_s[_MEMORY]),
        "recompute": critical(backward.recompute_s),
        "tensor_parallel": critical(forward.tensor_s + backward.tensor_s),
        "context_parallel": critical(forward.context_s + backward.context_s),
        "expert_parallel": critical(forward.expert_s + backward.expert_s - overlapped),
        "pipeline_transfer": micro_batches * transfer,
        "pipeline_bubble": bubble,
        "data_parallel": exchanged + critical(forward.waited_s + backward.waited_s),
        "offload": critical(forward.offload_s + backward.offload_s)
        + over_types(paging_s(job, strategies, held, profiled, updated)),
        "optimizer": over_types(updated),
        "host": critical(forward.host_s + backward.host_s) + software.step_s,
    }
    nodes = np.maximum(strategies.devices / job.system.devices_per_node, 1.0)
    doublings = np.log2(nodes)
    waiting = lost.straggler_ratio * doublings / (doublings + 1) * np.sqrt(doublings)
    times["stragglers"] = total(times.values()) * waiting
    times["input"] = input_s(job, strategies, total(times.values()))
    return times


def input_s(job: Job, strategies: Strategies, device_s: Column) -> Column:
    """Return what a step of `device_s` seconds waits for samples to be read and decoded.

    Each replica reads its own; the devices of a node share its processors and disks.
    """
    if job.input is None:
        return np.zeros_like(device_s)
    nodes = np.ceil(strategies.devices / job.system.devices_per_node)
    waited_s = waiting_s(job.input, job.global_batch / strategies.dp, job.global_batch / nodes)
    return with_waiting(device_s, waited_s) - device_s


def overlapped_experts_s(
    job: Job, strategies: Strategies, micro_batches: Column, forward: Pass, backward: Pass
) -> np.ndarray:
    """Seconds of expert-parallel exchanges that hide behind another micro-batch's computation.

    DualPipe pairs a forward with a backward pass; so does 1F1B of software that merges both, where
    there is another micro-batch.
    """
    paired = strategies.schedule == DUALPIPE
    share = job.software.overlap_experts_ratio
    if not paired.any() and not share:
        return np.zeros_like(forward.expert_s)
    both = forward.expert_s + backward.expert_s
    ratio = np.where(paired, 1.0, np.where(micro_batches > 1, share, 0.0))[:, None]
    behind = np.minimum(ratio * both, forward.room_s + backward.room_s)
    return behind * (1 - job.lost.contention_ratio)


def exposed(
    job: Job, data: DataTraffic, forward: Pass, backward: Pass
) -> tuple[np.ndarray, np.ndarray]:
    """Return seconds of reducing gradients and of gathering weights that nothing hides.

    After the last micro-batch's backward pass gradients remain that it could not hide; the gather
    of updated weights hides behind the next step's first forward pass.
    """
    contention = 1 - job.lost.contention_ratio
    reduced = job.software.overlap_gradients_ratio * np.minimum(data.reduce_s, backward.room_s)
    gathered = job.software.overlap_gathers_ratio * np.minimum(data.gather_s, forward.room_s)
    return data.reduce_s - contention * reduced, data.gather_s - contention * gathered


def one_pass(
    way: int,
    job: Job,
    strategies: Strategies,
    held: Stages,
    profiled: Profile,
    data: DataTraffic,
    lost: Losses,
) -> Pass:
    """Return the times of the forward (0) or the backward pass (1) of one micro-batch."""
    software = job.software
    repeats = way == 1 and strategies.recompute.any()
    exchanged, repeated = profiled.exchanged, profiled.repeated
    copies = strategies.copies

    def staged(figures: np.ndarray) -> np.ndarray:
        """Sum a figure (blocks, combinations) over the blocks that a micro-batch passes."""
        if not figures.any():
            return np.zeros_like(held.many)
        return over_blocks(held.counts, profiled.gather(figures) / copies)

    def again(figures: np.ndarray) -> np.ndarray:
        """Sum a figure (blocks, modes × combinations) of forward work that is repeated."""
        if not repeats or not figures.any():
            return np.zeros_like(held.many)
        return over_blocks(held.counts, profiled.gather_repeated(figures) / copies)

    sustained = lost.sustained_narrow_ratio if job.narrow else lost.sustained_ratio
    slowdown = np.array(
        [
            1 / (sustained * software.product_rate(job.system)),
            1 / (lost.sustained_attention_ratio * software.attention_ratio(job.system)),
            software.passes_ratio,
        ]
    )
    # Where experts share out the tokens, products and passes take longer; attention does not.
    uneven = lost.natural_ratio if software.routing == "natural" else 1.0
    unequal = np.where(profiled.routed, lost.routing_ratio * uneven, 1.0)[:, None]
    unequal = np.stack([unequal, np.ones_like(unequal), unequal])
    single_s = profiled.parts_s[way] * unequal
    parts = [staged(single_s[part]) * slowdown[part] for part in range(len(PARTS))]
    if way == 1 and not software.fuses_accumulation:
        parts[_MEMORY] = parts[_MEMORY] + _accumulation_s(job, strategies, held, profiled)
    split = way == 1 and strategies.schedule.any()
    weight = staged(profiled.weight_s * unequal[_MATRIX]) * slowdown[_MATRIX] if split else None
    # Recomputation repeats forward work, with its exchanges.
    recomputed = again((repeated.parts_s * unequal * slowdown[:, None, None]).sum(axis=0))
    tensor = staged(exchanged.tensor_s[way]) + again(repeated.tensor_s)
    routed = uneven * (staged(exchanged.expert_s[way]) + again(repeated.expert_s))

    # What computes hides one transfer at a time: `room` is what is left to hide behind.
    busy = total([*parts, recomputed])
    kept_apart = 1 - lost.contention_ratio
    # Products that feed an exchange, or wait for one, are cut into pieces that overlap with it.
    behind = np.minimum(tensor * software.overlap_tensor_ratio, busy)
    hidden = {"tp": behind * kept_apart}
    room = busy - behind
    # Keys and values go round while attention works on the piece before.
    # All-to-all comes before and after attention, which waits for it.
    pieces = staged(exchanged.context_s[way]) + again(repeated.context_s)
    hidden["cp"] = np.zeros_like(pieces)
    if pieces.any():
        attending = parts[_ATTENTION] + again(repeated.parts_s[_ATTENTION]) * slowdown[_ATTENTION]
        covered = np.where(strategies.cp_exchange[:, None] == ALL_TO_ALL, 0.0, attending)
        hidden["cp"] = np.minimum(np.minimum(pieces, covered), room)
    exposed_s, context = tensor - hidden["tp"], pieces - hidden["cp"]
    # The host launches kernels one after another; where it is slower than they are, they wait.
    launches = staged(profiled.launches[way]) + again(repeated.launches)
    device = busy + exposed_s + context + routed
    called_s = launches * (software.launch_s * host_ratio(job.system))
    host = soft_maximum(_HOST_EXPONENT, called_s, device) - device
    # What waits for the host hides a transfer as well as what computes.
    room = room - hidden["cp"] + host
    # ZeRO-3 gathers weights ahead of the layer at work, once a pass; gradients are scattered
    # behind it. What computation does not cover is waited for.
    moved = data.micro_gather_s + (data.micro_reduce_s if way == 1 else 0.0)
    behind = np.minimum(moved, room) * software.overlap_gathers_ratio
    hidden["dp"] = behind * kept_apart
    room = room - behind
    carried = np.zeros_like(busy)
    if strategies.offload.any():
        gone = _carried_s(job, strategies, held, profiled)
        behind = np.minimum(gone, room)
        hidden["host"] = behind * kept_apart
        room, carried = room - behind, gone - hidden["host"]
    waited = moved - hidden["dp"]
    return Pass(
        parts,
        recomputed,
        busy,
        exposed_s,
        context,
        routed,
        waited,
        host,
        carried,
        hidden,
        room,
        weight,
    )


def _carried_s(job: Job, strategies: Strategies, held: Stages, profiled: Profile) -> np.ndarray:
    """Seconds (strategies, types) of a pass's traffic with the host: activations, parameters."""
    kept = profiled.gather_repeated(profiled.repeated.kept_bytes)
    kept = kept * profiled.layer[:, None] / strategies.copies
    rate = host_rate_bytes_per_s(job.system)
    gone = over_blocks(held.counts, kept) / rate
    gone = np.where(strategies.offloads("activations")[:, None], gone, 0.0)
    fetched = strategies.offloads("parameters")[:, None]
    if fetched.any():  # each device brings its share
        weights = profiled.gather(profiled.weights + profiled.expert_weights) / strategies.copies
        shards = np.where(strategies.zero == 3, strategies.dp * strategies.cp, 1.0)
        shards = np.maximum(shards / strategies.replicas, 1.0)[:, None]
        brought = over_blocks(held.counts, weights) * job.recipe.weight_bytes / shards / rate
        gone = gone + np.where(fetched, brought, 0.0)
    return gone


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


def _updated_elements(strategies: Strategies, held: Stages, profiled: Profile) -> np.ndarray:
    """Parameters (strategies, types) that one device updates."""
    weights = profiled.gather(profiled.weights + profiled.expert_weights)
    whole = over_blocks(held.counts, weights)
    shards = (strategies.dp * strategies.cp * strategies.copies / strategies.replicas)[:, None]
    return np.where(strategies.zero[:, None] > 0, whole / shards, whole)


def _accumulation_s(
    job: Job, strategies: Strategies, held: Stages, profiled: Profile
) -> np.ndarray:
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
