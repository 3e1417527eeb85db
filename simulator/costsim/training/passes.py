"""One pass of a micro-batch: what computes, what exchanges hide behind it, and what waits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costsim.hardware.hosts import host_ratio
from costsim.hardware.kernels import soft_maximum
from costsim.hardware.timing import PARTS
from costsim.training.cp_exchange import ALL_TO_ALL
from costsim.training.job import Job
from costsim.training.losses import Losses
from costsim.training.offload import host_rate_bytes_per_s
from costsim.training.profile import Profile
from costsim.training.reductions import over_blocks, total
from costsim.training.stages import Stages
from costsim.training.strategy import Strategies
from costsim.training.traffic import DataTraffic
from costsim.training.updates import accumulation_s

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


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums of figures over the blocks that a micro-batch passes on each stage type."""

    way: int
    strategies: Strategies
    held: Stages
    profiled: Profile
    copies: np.ndarray

    @property
    def repeats(self) -> bool:
        """Whether forward work is repeated in this pass."""
        return self.way == 1 and bool(self.strategies.recompute.any())

    def staged(self, figures: np.ndarray) -> np.ndarray:
        """Sum a figure (blocks, combinations) over the blocks that a micro-batch passes."""
        if not figures.any():
            return np.zeros_like(self.held.many)
        gathered = self.profiled.gather(figures) / self.copies
        return over_blocks(self.held.counts, gathered)

    def again(self, figures: np.ndarray) -> np.ndarray:
        """Sum a figure (blocks, modes × combinations) of forward work that is repeated."""
        if not self.repeats or not figures.any():
            return np.zeros_like(self.held.many)
        gathered = self.profiled.gather_repeated(figures) / self.copies
        return over_blocks(self.held.counts, gathered)

    def both(self, once: np.ndarray, repeated: np.ndarray) -> np.ndarray:
        """Sum a figure by direction, and what recomputation repeats of it."""
        return self.staged(once[self.way]) + self.again(repeated)


@dataclass(frozen=True, slots=True)
class _Computed:
    """What computes in a pass: seconds (strategies, types)."""

    parts_s: list[np.ndarray]
    recompute_s: np.ndarray
    busy_s: np.ndarray
    attending_s: np.ndarray  # attention, repeated too: what keys and values go round behind
    weight_s: np.ndarray | None


def one_pass(
    way: int,
    job: Job,
    strategies: Strategies,
    held: Stages,
    profiled: Profile,
    data: DataTraffic,
    lost: Losses,
) -> Pass:
    """Return the times of the forward (0) or the backward pass (1) of one micro-batch.

    What computes hides one transfer at a time: `room` is what is left to hide behind. In order:
    tensor exchanges, keys and values, gathers of ZeRO, the host link.
    """
    software, exchanged, repeated = job.software, profiled.exchanged, profiled.repeated
    sums = _Sums(way, strategies, held, profiled, strategies.copies)
    computed = _computed(sums, job)
    busy, kept_apart = computed.busy_s, 1 - lost.contention_ratio
    # Products that feed an exchange, or wait for one, are cut into pieces that overlap with it.
    tensor = sums.both(exchanged.tensor_s, repeated.tensor_s)
    behind = np.minimum(tensor * software.overlap_tensor_ratio, busy)
    hidden = {"tp": behind * kept_apart}
    room = busy - behind
    pieces = sums.both(exchanged.context_s, repeated.context_s)
    hidden["cp"] = _behind_attention(pieces, computed.attending_s, room, strategies)
    exposed_s, context = tensor - hidden["tp"], pieces - hidden["cp"]
    routed = uneven_ratio(job, lost) * sums.both(exchanged.expert_s, repeated.expert_s)
    # The host launches kernels one after another; where it is slower than they are, they wait.
    launches = sums.both(profiled.launches, repeated.launches)
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
    offloaded = np.zeros_like(busy)
    if strategies.offload.any():
        gone = carried_s(job, strategies, held, profiled)
        behind = np.minimum(gone, room)
        hidden["host"] = behind * kept_apart
        room, offloaded = room - behind, gone - hidden["host"]
    return Pass(
        parts_s=computed.parts_s,
        recompute_s=computed.recompute_s,
        busy_s=busy,
        tensor_s=exposed_s,
        context_s=context,
        expert_s=routed,
        waited_s=moved - hidden["dp"],
        host_s=host,
        offload_s=offloaded,
        hidden_s=hidden,
        room_s=room,
        weight_s=computed.weight_s,
    )


def uneven_ratio(job: Job, lost: Losses) -> float:
    """Return the time of experts that are chosen as they are, over that with equal shares."""
    return lost.natural_ratio if job.software.routing == "natural" else 1.0


def _computed(sums: _Sums, job: Job) -> _Computed:
    """Return what computes: kernels as slow as they run in whole steps, and forward work again."""
    software, way = job.software, sums.way
    profiled, repeated = sums.profiled, sums.profiled.repeated
    slower = slowdown_ratio(job, profiled)
    parts = [sums.staged(profiled.parts_s[way][part] * slower[part]) for part in range(len(PARTS))]
    if way == 1 and not software.fuses_accumulation:
        parts[_MEMORY] = parts[_MEMORY] + accumulation_s(job, sums.strategies, sums.held, profiled)
    weight = None
    if way == 1 and sums.strategies.schedule.any():
        weight = sums.staged(profiled.weight_s * slower[_MATRIX])
    recomputed = sums.again((repeated.parts_s * slower).sum(axis=0))
    attending = parts[_ATTENTION]
    if profiled.exchanged.context_s.any():
        attending = attending + sums.again(repeated.parts_s[_ATTENTION] * slower[_ATTENTION])
    return _Computed(parts, recomputed, total([*parts, recomputed]), attending, weight)


def slowdown_ratio(job: Job, profiled: Profile) -> np.ndarray:
    """Return the time of kernels in whole steps over that alone: (parts, blocks, 1)."""
    software, lost = job.software, job.lost
    sustained = lost.sustained_narrow_ratio if job.narrow else lost.sustained_ratio
    slower = np.array(
        [
            1 / (sustained * software.product_rate(job.system)),
            1 / (lost.sustained_attention_ratio * software.attention_ratio(job.system)),
            software.passes_ratio,
        ]
    )
    # Where experts share out the tokens, products and passes take longer; attention does not.
    padded = 1.0 if software.routes_fused else lost.routing_ratio
    unequal = np.where(profiled.routed, padded * uneven_ratio(job, lost), 1.0)
    unequal = np.stack([unequal, np.ones_like(unequal), unequal])
    return (slower[:, None] * unequal)[..., None]


def _behind_attention(
    pieces: np.ndarray, attending: np.ndarray, room: np.ndarray, strategies: Strategies
) -> np.ndarray:
    """Return how much of the keys and values that go round attention hides.

    All-to-all comes before and after attention, which waits for it.
    """
    if not pieces.any():
        return np.zeros_like(pieces)
    covered = np.where(strategies.cp_exchange[:, None] == ALL_TO_ALL, 0.0, attending)
    return np.minimum(np.minimum(pieces, covered), room)


def carried_s(job: Job, strategies: Strategies, held: Stages, profiled: Profile) -> np.ndarray:
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
