"""Memory of a training step: parts by moments, of each pipeline stage's device.

What is held changes while a step goes on: logits are gone when the first layer is differentiated,
gradients come to be layer by layer, the update has copies of its own. The answer is the largest
moment, never the sum of parts that do not meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from costsim.architectures.operators import Attention
from costsim.architectures.operators.wrapping import unwrapped
from costsim.stacks.stack import WIDTHS, Stack
from costsim.training.gathering import Gathered, gathered
from costsim.training.job import Job
from costsim.training.losing import Head, LossMemory, loss_memory
from costsim.training.offload import LAYERS_RESIDENT, NVME
from costsim.training.optimizers import optimizer
from costsim.training.pipeline import chunks_in_flight
from costsim.training.profile import Profile
from costsim.training.recompute import RECOMPUTE
from costsim.training.reductions import largest_held, total
from costsim.training.stages import Stages
from costsim.training.strategy import Strategies

MEMORY_PARTS = (
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "logits",
    "buffers",
    "beside",
    "framework",
)

MOMENTS = ("forward", "loss", "loss_backward", "first_layer", "last_layer", "embedding", "update")
"""Moments of a step: the end of the forward pass through the layers, the loss, its derivative, that
of the last layer (the first of the backward pass), of the first layer, of the embedding, and the
optimizer's update."""

_FLOAT_BYTES = 4.0
_FULL = RECOMPUTE.index("full")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes a device holds at its worst moment: arrays (strategies, stage types); absent are 0.

    `parts` are those of that moment, `moment` its index in `MOMENTS`. `buffers` are transient
    tensors: gradients of activations, gathered weights under ZeRO-3, what recomputation restores of
    one layer, copies of the update. `beside` are models that are not trained, and an engine's
    share. `framework` is what driver, communication library and allocator hold beside the tensors.
    """

    parts: dict[str, np.ndarray]
    host_parts: dict[str, np.ndarray]  # those of them that a device keeps in its host's memory
    drive_parts: dict[str, np.ndarray]  # and on its node's drives
    moment: np.ndarray
    moments: dict[str, np.ndarray]  # allocated bytes by moment, of those that may be the worst

    def take(self, index: np.ndarray | slice) -> Memory:
        """Return the memory of the strategies at `index`."""

        def taken(figures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: figure[index] for name, figure in figures.items()}

        return Memory(
            taken(self.parts),
            taken(self.host_parts),
            taken(self.drive_parts),
            self.moment[index],
            taken(self.moments),
        )

    @classmethod
    def joined(cls, several: Sequence[Memory]) -> Memory:
        """Return the memory of several runs of strategies, one after the other."""

        def joined(figures: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
            return {name: np.concatenate([one[name] for one in figures]) for name in figures[0]}

        return cls(
            joined([one.parts for one in several]),
            joined([one.host_parts for one in several]),
            joined([one.drive_parts for one in several]),
            np.concatenate([one.moment for one in several]),
            joined([one.moments for one in several]),
        )

    @property
    def host_bytes(self) -> np.ndarray:
        """Bytes in the host's memory by strategy and stage type."""
        return total(self.host_parts.values())

    @property
    def total_bytes(self) -> np.ndarray:
        """Bytes by strategy and stage type, of the device as a whole."""
        return total(self.parts[part] for part in MEMORY_PARTS)

    @property
    def allocated_bytes(self) -> np.ndarray:
        """Bytes of tensors by strategy and stage type."""
        return total(self.parts[part] for part in MEMORY_PARTS if part != "framework")

    def metered_bytes(
        self, meter: Literal["allocated", "reserved", "total"], job: Job
    ) -> np.ndarray:
        """Return bytes as a meter sees them: of tensors, of the allocator, of the device."""
        allocated = self.allocated_bytes
        if meter == "allocated":
            return allocated
        context, _ = _manager(job)
        return self.total_bytes - (context if meter == "reserved" else 0.0)


_Moment = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class _Held:
    """Sums over the blocks of each stage type, and what divides them."""

    counts: np.ndarray
    shards: np.ndarray
    expert_shards: np.ndarray
    zero: np.ndarray

    def over(self, figures: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Sum a figure (blocks, strategies) over the blocks of each stage type."""
        result = None
        for block, figure in enumerate(figures):
            if (mask is None or mask[block]) and figure.any():
                part = self.counts[..., block] * figure[:, None]
                result = part if result is None else np.add(result, part, out=result)
        return np.zeros(self.counts.shape[:2]) if result is None else result

    def divided(self, dense: np.ndarray, experts: np.ndarray, stage: int) -> np.ndarray:
        """Return what a device has of a state that ZeRO divides from `stage` on."""
        if not experts.any():
            return np.where(self.zero >= stage, dense / self.shards, dense)
        shared = dense / self.shards + experts / self.expert_shards
        return np.where(self.zero >= stage, shared, dense + experts)


def memory(
    job: Job, strategies: Strategies, stages: Stages, profile: Profile, parts: list[str]
) -> Memory:
    """Return what devices of each stage type hold; `parts` says what each block is."""
    counts = stages.counts  # (strategies, types, blocks)
    layer = np.array([part == "layer" for part in parts])
    head = np.array([part == "head" for part in parts])
    copies = strategies.copies[:, None]
    shards = (strategies.dp * strategies.cp / strategies.replicas)[:, None] * copies
    expert_shards = shards * (strategies.tp / (strategies.ep * strategies.etp))[:, None]
    held = _Held(counts, shards, np.maximum(expert_shards, 1.0), strategies.zero[:, None])
    static, host = _states(job, strategies, profile, held, layer, head)
    kept, flight = _kept(job, strategies, stages, profile, held, layer, head, host)
    moments = _moments(job, strategies, profile, held, layer, head, kept, flight)
    found, which, sums = _worst(static, moments)
    for part in MEMORY_PARTS[:-1]:
        found.setdefault(part, np.zeros_like(shards * counts[..., 0]))
    if job.beside_bytes:
        found["beside"] = found["beside"] + job.beside_bytes
    if job.reference_bytes:
        sharded = np.where(held.zero == 3, shards, 1.0) * (strategies.tp * strategies.pp)[:, None]
        found["beside"] = found["beside"] + job.reference_bytes / sharded
    if job.values:  # trained in turn: their states stay, activations do not meet
        kept_gradients = moments["first_layer"]["gradients"] if _persists(job) else 0.0
        states = found["weights"] + found["optimizer"] + kept_gradients
        found["beside"] = found["beside"] + job.values * states
    found["framework"] = _framework(job, found, moments)
    present = stages.many > 0
    driven = present & (strategies.offload == NVME)[:, None]
    return Memory(
        {part: np.where(present, figure, 0.0) for part, figure in found.items()},
        {part: np.where(present & ~driven, figure, 0.0) for part, figure in host.items()},
        {part: np.where(driven, figure, 0.0) for part, figure in host.items()},
        which,
        {name: np.where(present, figure, 0.0) for name, figure in sums.items()}
        if job.stack is not None
        else {},
    )


def _manager(job: Job) -> tuple[float, float]:
    of = job.software if job.stack is None else job.stack
    return of.context_bytes, of.reserve_ratio


def _framework(
    job: Job, found: Mapping[str, np.ndarray], moments: Mapping[str, _Moment]
) -> np.ndarray:
    """Return bytes that are no tensor's at the worst moment: the context, and the allocator's.

    A caching allocator keeps blocks of tensors that are gone, and few of them fit what comes next
    (`shared_ratio` of them): what is reserved lies near the sum of each part's own peak.
    """
    context, reserve = _manager(job)
    tensors = total(found[part] for part in MEMORY_PARTS[:-1])
    if job.stack is None or not job.stack.kept_ratio or len(moments) < 2:
        return context + reserve * tensors
    changing = {part for moment in moments.values() for part in moment}
    apart = np.zeros_like(tensors)
    for part in changing:
        peaks = (moment[part] for moment in moments.values() if part in moment)
        highest = found[part]
        for peak in peaks:
            highest = np.maximum(highest, peak)
        apart = apart + highest - found[part]
    return context + reserve * tensors + job.stack.kept_ratio * apart


def _states(
    job: Job,
    strategies: Strategies,
    profile: Profile,
    held: _Held,
    layer: np.ndarray,
    head: np.ndarray,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return weights and optimizer on the device, and what the host has."""
    recipe = job.recipe
    dense = held.over(profile.gather(profile.weights))
    experts = held.over(profile.gather(profile.expert_weights))
    if profile.tied.any():  # a head that shares the embedding's storage holds none of its own
        tied = held.over(profile.gather(profile.tied), head)
        both = (held.counts[..., ~layer & ~head] > 0).any(axis=-1)
        dense = dense - np.where(both, tied, 0.0)
    weights = recipe.weight_bytes * held.divided(dense, experts, 3)
    states = (recipe.master_bytes + job.moment_bytes) * held.divided(dense, experts, 1)
    if job.outer_moment_bytes != job.moment_bytes:
        outer = held.over(profile.gather(profile.weights), ~layer)
        more = job.outer_moment_bytes - job.moment_bytes
        states = states + more * held.divided(outer, np.zeros_like(outer), 1)
    if job.adapted:
        adapters = held.over(profile.gather(profile.trained))
        copied = held.over(profile.gather(profile.copied))
        nothing = np.zeros_like(adapters)
        width, _, moments = job.adapter_bytes
        weights = weights + (width - recipe.weight_bytes) * held.divided(adapters, nothing, 3)
        states = moments * held.divided(adapters, nothing, 1)
        states = states + job.copied_bytes * held.divided(copied, nothing, 1)
    nothing = np.zeros_like(states)
    names = ("parameters", "optimizer", "activations", "gradients")
    host: dict[str, np.ndarray] = dict.fromkeys(names, nothing)
    if strategies.offload.any():
        gone = strategies.offloads("parameters")[:, None]
        host["parameters"] = np.where(gone, weights, 0.0)
        weights = np.where(gone, 0.0, weights)
        paged = strategies.offloads("optimizer")[:, None]
        host["optimizer"] = np.where(paged, states, 0.0)
        states = np.where(paged, 0.0, states)
        # Gradients follow sharded parameters: they are applied where those are.
        of_all = profile.gather(profile.gradients), profile.gather(profile.expert_gradients)
        made = held.divided(held.over(of_all[0]), held.over(of_all[1]), 2)
        host["gradients"] = np.where(gone, made, 0.0)
    return {"weights": weights, "optimizer": states}, host


@dataclass(frozen=True, slots=True)
class _Kept:
    """Activations that wait for the backward pass: of layers, of the stem, and of the head."""

    layers: np.ndarray
    stem: np.ndarray
    head: np.ndarray


def _kept(
    job: Job,
    strategies: Strategies,
    stages: Stages,
    profile: Profile,
    held: _Held,
    layer: np.ndarray,
    head: np.ndarray,
    host: dict[str, np.ndarray],
) -> tuple[_Kept, np.ndarray]:
    """Return what is kept on the device; what is offloaded goes to `host`."""
    micro_batches = job.global_batch / (strategies.dp * strategies.micro_batch)
    chunks, copies = strategies.vp[:, None], strategies.copies[:, None]
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
    layers = held.over(chosen, layer) * layers_share
    if (together := _together(job)) > 1:
        depth = _depth(held, layer)
        whole = (strategies.recompute == _FULL)[:, None]
        layers = np.where(whole, layers * np.ceil(depth / together) / np.maximum(depth, 1), layers)
    if strategies.offload.any():
        gone = strategies.offloads("activations")[:, None]
        resident = np.minimum(layers, LAYERS_RESIDENT * largest_held(held.counts, chosen, layer))
        host["activations"] = np.where(gone, layers - resident, 0.0)
        layers = layers - host["activations"]
    of_head = held.over(chosen - profile.gather(profile.loss_bytes), head)
    return _Kept(layers, held.over(chosen, ~layer & ~head) * stem_share, of_head), micro_batches


def _moments(
    job: Job,
    strategies: Strategies,
    profile: Profile,
    held: _Held,
    layer: np.ndarray,
    head: np.ndarray,
    kept: _Kept,
    micro_batches: np.ndarray,
) -> dict[str, _Moment]:
    """Return what changes from moment to moment, by part; only of moments that may be the worst."""
    stack, persistent = job.stack, _persists(job)
    by_tensor = stack is not None and stack.gradient_life == "tensor"
    per_block = profile.gather(profile.gradients), profile.gather(profile.expert_gradients)
    gradients = _less_tied(job, profile, held, layer, head, held.over(per_block[0]))
    gradients = held.divided(gradients, held.over(per_block[1]), 2)
    nothing = np.zeros_like(gradients)
    if strategies.offload.any():  # gradients follow their sharded parameters to the host
        gone = strategies.offloads("parameters")[:, None]
        gradients = np.where(gone, 0.0, gradients)
    # Gradients of earlier micro-batches, where there are any.
    if by_tensor:
        earlier = gradients = nothing
    elif persistent:
        earlier = gradients
    else:
        earlier = np.where(micro_batches[:, None] > 1, gradients, 0.0)
    units = gathered(job, strategies, profile, held.counts, layer)
    transient = largest_held(held.counts, profile.gather(profile.transient_bytes), layer)
    restored = nothing
    if strategies.recompute.any():
        dropped = profile.gather_repeated(profile.repeated.restored_bytes)
        restored = largest_held(held.counts, dropped, layer)
        if (together := _together(job)) > 1:  # a segment's layers are there at once
            again = restored * np.minimum(together, _depth(held, layer))
            restored = np.where((strategies.recompute == _FULL)[:, None], again, restored)
    if profile.unpacked.any():  # a packed matrix at work, as its products read it
        transient = transient + largest_held(held.counts, profile.gather(profile.unpacked), layer)
    if job.keeping.style == "eager":
        working = transient + restored
    else:
        working = np.maximum(transient, restored)
    all_kept = kept.layers + kept.stem + kept.head
    moments: dict[str, _Moment] = {}
    headed, told = nothing, profile.logits.any()
    if told and stack is None:
        # Fused kernels over a divided vocabulary hold as much in both directions.
        size = 2 * _FLOAT_BYTES * held.over(profile.gather(profile.logits))
        moments["loss"] = {
            "gradients": earlier,
            "activations": all_kept,
            "logits": size,
            "buffers": units.loss,
        }
    elif told and stack is not None:
        loss, head_gradient, cast = _loss(job, stack, profile, held, head, persistent=persistent)
        cached = nothing
        if profile.cast.any() and strategies.recompute.any():  # what is dropped stays cached
            dropped = profile.gather(profile.cast) * (strategies.recompute > 0)
            cached = held.over(dropped, layer)
        for name, size, more in (
            ("loss", loss.forward, cached),
            ("loss_backward", loss.backward, nothing),
        ):
            moments[name] = {
                "gradients": earlier,
                "activations": all_kept,
                "logits": size,
                "buffers": units.loss + more,
            }
        if not persistent and not by_tensor:
            headed = np.where(cast > 0, head_gradient.gradient, head_gradient.made)
        working = np.maximum(working, np.where(cast > 0, head_gradient.made, 0.0))
    one = largest_held(held.counts, profile.gather_repeated(profile.repeated.kept_bytes), layer)
    # A layer further down has less kept, and more on its way to other devices.
    further = np.maximum(units.first, units.layers - one) if stack is not None else units.layers
    moments["first_layer"] = {
        "gradients": earlier + np.where(earlier > 0, 0.0, headed),
        "activations": kept.layers + kept.stem,
        "buffers": working + further,
    }
    if stack is not None and not persistent:
        moments["last_layer"] = {
            "gradients": _last_gradients(job, profile, held, layer, head, gradients, headed),
            "activations": np.minimum(one, kept.layers) + kept.stem,
            "buffers": working + units.layers,
        }
        moments["embedding"] = _embedding(job, profile, held, layer, head, gradients, kept, units)
        moments["update"] = {
            "gradients": gradients,
            "buffers": _update(stack, job, profile, held, gradients) + _buckets(units, strategies),
        }
    elif stack is not None and stack.flat_gradients != "none":
        moments["update"] = {
            "gradients": gradients,
            "buffers": _flat(stack, job, profile, held, gradients) + _buckets(units, strategies),
        }
    return moments


def _together(job: Job) -> int:
    """Return how many layers are made again together."""
    return 1 if job.stack is None else job.stack.recompute_layers


def _depth(held: _Held, mask: np.ndarray) -> np.ndarray:
    """Return how many layers each stage type holds."""
    return held.counts[..., mask].sum(axis=-1)


def _persists(job: Job) -> bool:
    """Return whether gradients have a buffer of their own from step to step."""
    stack = job.stack
    return stack is None or stack.gradient_life == "persistent" or stack.buckets == "views"


def _loss(
    job: Job, stack: Stack, profile: Profile, held: _Held, head: np.ndarray, *, persistent: bool
) -> tuple[LossMemory, Head, np.ndarray]:
    """Return what the loss holds, the head that makes it, and the copy that autocast makes."""
    recipe = job.recipe
    logits = held.over(profile.gather(profile.logits))
    nothing = np.zeros_like(logits)
    table = held.over(profile.gather(profile.gradients), head)
    cast = held.over(profile.gather(profile.cast), head) if profile.cast.any() else nothing
    made = np.where(cast > 0, table * (recipe.activation_bytes / _FLOAT_BYTES), table)
    if not job.frozen:  # sharded models have their gradients in the format they gather in
        made = made * (job.made_bytes(False) / job.gradient_bytes(False))
    found = Head(
        logits,
        made,
        table,
        cast,
        held.over(profile.gather(profile.stream), head) * recipe.activation_bytes,
        held.over(profile.gather(profile.capped), head) if profile.capped.any() else nothing,
        table * (_FLOAT_BYTES / max(job.gradient_bytes(False), 1.0)),
    )
    loss = loss_memory(
        stack.loss,
        stack.loss_chunks,
        found,
        recipe.activation_bytes,
        upcast=_upcasts(job),
        persistent=persistent,
    )
    return loss, found, cast


@lru_cache(maxsize=64)
def _upcasts(job: Job) -> bool:
    """Return whether the loss is computed in fp32: of models that write text, not of masked ones.

    The reference code of the former upcasts logits; autocast does it for all.
    """
    if job.keeping.casts or job.precision.activation_bytes > 2:
        return True
    bare = [unwrapped(o) for block in job.model.blocks() for o in block.operators]
    seen = [operator.causal for operator in bare if isinstance(operator, Attention)]
    return not seen or any(seen)


def _less_tied(
    job: Job,
    profile: Profile,
    held: _Held,
    layer: np.ndarray,
    head: np.ndarray,
    gradients: np.ndarray,
) -> np.ndarray:
    """Return `gradients` with a tied table's counted once where both its uses are on a device."""
    if not profile.tied.any() or job.frozen:
        return gradients
    both = (held.counts[..., ~layer & ~head] > 0).any(axis=-1)
    tied = held.over(profile.gather(profile.tied), head) * job.recipe.gradient_bytes
    return gradients - np.where(both, tied, 0.0)


def _last_gradients(
    job: Job,
    profile: Profile,
    held: _Held,
    layer: np.ndarray,
    head: np.ndarray,
    gradients: np.ndarray,
    headed: np.ndarray,
) -> np.ndarray:
    """Return bytes of the gradients that exist when the first layer is differentiated.

    Not those of that layer, which are counted with its working set, nor of an embedding that is not
    tied. The root unit of a sharded model is whole until the end.
    """
    dense = profile.gather(profile.gradients)
    own = held.over(dense, ~layer & ~head)
    if profile.tied.any() and not job.frozen:
        tied = held.over(profile.gather(profile.tied), head) * job.recipe.gradient_bytes
        own = np.maximum(own - tied, 0.0)
    one = held.divided(
        largest_held(held.counts, dense, layer),
        largest_held(held.counts, profile.gather(profile.expert_gradients), layer),
        2,
    )
    found = gradients - held.divided(own, np.zeros_like(own), 2) - one
    if job.stack is not None and job.stack.units == "fsdp":
        nothing = np.zeros_like(own)
        shard = held.divided(
            _less_tied(job, profile, held, layer, head, nothing + headed), nothing, 2
        )
        found = np.where(held.zero == 3, found - shard + headed, found)
    return np.maximum(found, 0.0)


def _embedding(
    job: Job,
    profile: Profile,
    held: _Held,
    layer: np.ndarray,
    head: np.ndarray,
    gradients: np.ndarray,
    kept: _Kept,
    units: Gathered,
) -> _Moment:
    """Return what is held while the embedding's gradient is made: beside it that of its output.

    A tied table gets two gradients, and their sum is a third table.
    """
    stream = largest_held(held.counts, profile.gather(profile.stream), layer)
    buffers = stream * job.kept_widths["weight"]
    if profile.tied.any() and not job.frozen:
        both = (held.counts[..., ~layer & ~head] > 0).any(axis=-1)
        tied = held.over(profile.gather(profile.tied), head) * job.recipe.gradient_bytes
        buffers = np.where(both, np.maximum(2 * tied, tied + buffers), buffers)
    if job.stack is not None and job.stack.units == "fsdp" and (held.zero == 3).any():
        # The root unit's gradients are not divided yet.
        dense = held.over(profile.gather(profile.gradients), ~layer)
        dense = _less_tied(job, profile, held, layer, head, dense)
        shard = held.divided(dense, np.zeros_like(dense), 2)
        sharded = held.zero == 3
        gradients = np.where(sharded, gradients - shard, gradients)
        buffers = np.where(sharded, units.embedding, buffers + units.embedding)
    else:
        buffers = buffers + units.embedding
    return {"gradients": gradients, "activations": kept.stem, "buffers": buffers}


def _buckets(units: Gathered, strategies: Strategies) -> np.ndarray:
    """Return bytes of buckets that outlast the backward pass."""
    return np.where((strategies.zero == 3)[:, None], 0.0, units.embedding)


def _update(
    stack: Stack, job: Job, profile: Profile, held: _Held, gradients: np.ndarray
) -> np.ndarray:
    """Return bytes of what an update holds beside states and gradients."""
    each = stack.update_bytes or optimizer(job.optimizer).working_bytes
    if each:
        return each * largest_held(held.counts, profile.gather(profile.largest))
    if stack.update == "fused":
        return np.zeros_like(gradients)
    width = job.gradient_bytes(job.adapted)
    updated = gradients * ((_FLOAT_BYTES / width) if job.recipe.master_bytes else 1.0)
    if stack.update == "foreach":
        return updated
    largest = largest_held(held.counts, profile.gather(profile.largest)) * width
    return np.minimum(updated, largest) * 2


def _flat(
    stack: Stack, job: Job, profile: Profile, held: _Held, gradients: np.ndarray
) -> np.ndarray:
    """Return bytes that an update of a sharded optimizer holds: its gradients in one piece.

    They are joined in their own format, then cast (DeepSpeed's stage_1_and_2.py, `step`); foreach
    has a copy more of what is updated.
    """
    width = max(job.gradient_bytes(job.adapted), 1.0)
    of_all = profile.gather(profile.gradients), profile.gather(profile.expert_gradients)
    shard = held.divided(held.over(of_all[0]), held.over(of_all[1]), 1)
    shard = np.minimum(shard, np.where(gradients > 0, gradients, shard))
    if stack.sub_group_elements:
        group = np.minimum(shard, stack.sub_group_elements * width)
        shard = np.where(held.zero == 3, group, shard)
    cast = shard * (WIDTHS[stack.flat_gradients] / width)
    return shard + cast + (cast if stack.update == "foreach" else 0.0)


def _worst(
    static: Mapping[str, np.ndarray], moments: Mapping[str, _Moment]
) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """Return the parts of the largest moment, which it is, and the bytes of each."""
    base = total(static.values())
    sums = {name: total((base, *parts.values())) for name, parts in moments.items()}
    (first, *others) = moments
    best = sums[first]
    which = np.full(best.shape, MOMENTS.index(first))
    chosen: dict[str, np.ndarray] = dict(moments[first])
    for name in others:
        larger = sums[name] > best
        if not larger.any():
            continue
        best = np.where(larger, sums[name], best)
        which = np.where(larger, MOMENTS.index(name), which)
        for part in {*chosen, *moments[name]}:
            chosen[part] = np.where(larger, moments[name].get(part, 0.0), chosen.get(part, 0.0))
    return {**static, **chosen}, which, sums
