"""One pass of inference on one group of devices: prefill, one decode step, or a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from costsim.architectures.architecture import (
    DEFAULT_SEQUENCE,
    Architecture,
    cached_bytes,
    forward_flops,
)
from costsim.architectures.block import Block
from costsim.architectures.division import heads_of
from costsim.architectures.formats import bytes_for
from costsim.architectures.operators import (
    CrossEntropy,
    Experts,
    LatentAttention,
    Linear,
    Operator,
)
from costsim.architectures.tensors import Activation
from costsim.architectures.workload import Execution, Shard, Workload
from costsim.compression.published import as_published, format_of, is_published, published_wide
from costsim.errors import SpecError
from costsim.hardware.blocks import Formats, block_times
from costsim.hardware.collectives import collective_time_s
from costsim.hardware.kernels import load_kernel_model
from costsim.hardware.systems import System
from costsim.hardware.timing import PARTS
from costsim.inference.layout import Layout, Layouts, Quantization
from costsim.inference.passes import ServedModel

Phase: TypeAlias = Literal["forward", "prefill", "decode"]
PHASES: tuple[Phase, ...] = ("forward", "prefill", "decode")

_EXECUTION = Execution(style="fused", attention="flash", latent="absorbed")


@dataclass(frozen=True, slots=True)
class InferenceEstimate:
    """One pass: latency, rate, and what a device holds.

    `flops` and `moved_bytes` are of all devices. A forward pass gives logits at every position; a
    prefill only at the last, and leaves a cache; a decode step adds one token to each sequence.
    """

    phase: Phase
    batch: int
    sequence: int
    latency_s: float
    items_per_s: float  # tokens, or samples where the model has no sequence
    flops: int
    moved_bytes: float
    mfu_ratio: float
    memory_bytes_per_device: float
    memory_by_part_bytes: dict[str, float]
    time_by_part_s: dict[str, float]
    fits: bool

    @property
    def intensity_flops_per_byte(self) -> float:
        return self.flops / self.moved_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as plain values, keys with their units."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {**found, "intensity_flops_per_byte": self.intensity_flops_per_byte}


def usual_sequence(model: Architecture, phase: str) -> int:
    """Return tokens of a sequence where none are given: 2,048, or as many as the model takes.

    A decode step adds a position to those in the cache, and needs room for it.
    """
    limit = model.context_limit
    if limit is None:
        return DEFAULT_SEQUENCE
    return max(1, min(DEFAULT_SEQUENCE, limit - (phase == "decode")))


def estimate_inference(
    model: Architecture,
    system: System,
    *,
    phase: Phase = "forward",
    batch: int = 1,
    sequence: int | None = None,
    precision: str | None = None,
    cache_dtype: str = "bf16",
) -> InferenceEstimate:
    """Estimate one pass, the layers divided over all devices of `system` (tensor parallelism).

    Args:
        model: what is run.
        system: its count is the degree of tensor parallelism.
        phase: "forward", "prefill", or "decode" (`sequence` is then the length of the cache).
        batch: sequences, images or other samples.
        sequence: tokens in each, of no effect on models of images; left out, `usual_sequence`.
        precision: format of products and weights, such as "bf16" or "fp8"; left out, as the model
            is published.
        cache_dtype: format of keys and values.

    Raises:
        SpecError: where heads do not divide over the devices, or the sequence is too long.
        UnknownNameError: where the device has no such format.
    """
    sequence = usual_sequence(model, phase) if sequence is None else sequence
    _check(model, system, sequence + (phase == "decode"))
    stored = as_published(model, precision)
    peak_flops_per_s = _peak_flops_per_s(system, stored, precision)
    if is_published(stored):  # what it does not pack is as wide as what it keeps
        precision = published_wide(model)
    model, precision = stored, precision or "bf16"
    work = _workload(phase, batch, sequence)
    blocks = tuple(_served(block, phase, batch) for block in model.blocks(work))
    local = [block.shard(Shard(tp=system.count, etp=system.count)) for block in blocks]
    other = "bf16" if precision in ("fp8", "int8", "fp4") else precision
    width = bytes_for(other)
    latent = phase == "decode" and _has(blocks, LatentAttention)
    apart: tuple[type[Operator], ...] = (Experts, LatentAttention) if latent else (Experts,)
    times = block_times(
        load_kernel_model(system.accelerator),
        [_without(block, apart) for block in local],
        1,
        _EXECUTION,
        Formats(precision, other, float(width)),
        ("forward",),
        cache_dtype=cache_dtype,
        generates=phase == "decode",
    )
    counts = np.array([float(block.count) for block in blocks])
    parts = {
        part: float(times.seconds[0, index, :, 0] @ counts) for index, part in enumerate(PARTS)
    }
    served = ServedModel(model, system, Quantization(precision, precision, cache_dtype, other))
    layouts = Layouts.of([Layout(tp=system.count, moe_tp=system.count)])
    if _has(blocks, Experts):
        parts["experts"] = _experts_s(served, layouts, blocks)
    if latent:
        whole = np.array([float(sequence + 1)])
        found = served.decode_attention_s(layouts, np.array([float(batch)]), whole)
        parts["attention"] += float(found[0])
    parts["tensor_parallel"] = _exchanges_s(system, blocks, float(width))
    latency_s = sum(parts.values())
    held = _memory(
        model, local, batch, sequence, precision, cache_dtype, phase, float(width), system.count
    )
    memory = sum(held.values())
    flops = int(forward_flops(blocks, _EXECUTION))
    return InferenceEstimate(
        phase=phase,
        batch=batch,
        sequence=sequence,
        latency_s=latency_s,
        items_per_s=_items(model, phase, batch, sequence) / latency_s,
        flops=flops,
        moved_bytes=_moved_bytes(blocks, float(width)),
        mfu_ratio=flops / latency_s / (peak_flops_per_s * system.count),
        memory_bytes_per_device=memory,
        memory_by_part_bytes=held,
        time_by_part_s=parts,
        fits=memory <= system.accelerator.memory_usable_bytes,
    )


def _peak_flops_per_s(system: System, stored: Architecture, precision: str | None) -> float:
    """Return a device's peak in the format that most products of a pass run in."""
    if stored.quantization is None or not is_published(stored):
        return system.accelerator.peak_flops_per_s(precision or "bf16")
    kernels = load_kernel_model(system.accelerator)
    form = format_of(stored.quantization)
    run = kernels.format(kernels.runs(form.kernels if form is not None else ("bf16",)))
    peaks = system.accelerator.peaks_flops_per_s
    return next(peaks[name] for name in run.peaks if name in peaks)


def _workload(phase: Phase, batch: int, sequence: int) -> Workload:
    if phase == "decode":
        return Workload.generation(batch, sequence)
    return Workload(batch, sequence)


def _check(model: Architecture, system: System, positions: int) -> None:
    limit = model.description.context_limit
    if limit is not None and positions > limit:
        raise SpecError(
            f"{model.name} has positions for {limit:,} tokens, not {positions:,}",
            hint=f"use a sequence of at most {limit}",
        )
    heads = heads_of(model)
    refusal = heads.refusal(system.count)
    if refusal:
        raise SpecError(refusal, hint=heads.hint)


def _served(block: Block, phase: Phase, batch: int) -> Block:
    """Return a block without its loss; a prefill needs logits at the last position only."""
    operators = tuple(op for op in block.operators if not isinstance(op, CrossEntropy))
    if phase == "prefill" and block.part == "head":
        operators = tuple(
            replace(op, rows=batch) if isinstance(op, Linear) and op.use == "head" else op
            for op in operators
        )
    return replace(block, operators=operators)


def _has(blocks: Sequence[Block], kind: type[Operator]) -> bool:
    return any(isinstance(op, kind) for block in blocks for op in block.operators)


def _without(block: Block, kinds: tuple[type[Operator], ...]) -> Block:
    kept = tuple(op for op in block.operators if not isinstance(op, kinds))
    return replace(block, operators=kept)


def _experts_s(served: ServedModel, layouts: Layouts, blocks: Sequence[Block]) -> float:
    """Seconds of routed experts, of which few tokens touch only some."""
    return sum(
        float(block.count) * float(served.experts_s(op, layouts, np.array([float(op.rows)]))[0])
        for block in blocks
        for op in block.operators
        if isinstance(op, Experts)
    )


def _exchanges_s(system: System, blocks: Sequence[Block], width: float) -> float:
    """Seconds of summing partial results over the devices, by one-shot kernels where faster."""
    if system.count == 1:
        return 0.0
    found = [
        (float(block.count), float(exchange.elements) * width)
        for block in blocks
        for exchange in block.collectives()
        if exchange.side == "exit"
    ]
    if not found:
        return 0.0
    counts, sizes = np.array(found).T
    group = np.array(float(system.count))
    return float(
        counts @ collective_time_s(system, "all_reduce", sizes, group, algorithm="one-shot")
    )


def _memory(
    model: Architecture,
    local: Sequence[Block],
    batch: int,
    sequence: int,
    precision: str,
    cache_dtype: str,
    phase: Phase,
    width: float,
    devices: int,
) -> dict[str, float]:
    """Bytes of one device: weights, cache, and the largest activations alive at once."""
    held = [(float(block.count), weight) for block in local for weight in block.weights()]
    element_bytes = float(bytes_for(precision))
    tokens = sequence + (phase == "decode")
    kept = sum(
        count * cached_bytes(tensor, cache_dtype) * tensor.share(devices)
        for tensor, count in model.description.cache(batch, tokens)
        if phase != "forward"
    )
    alive = max(
        sum(float(a.elements) for a in _largest(block.saved(_EXECUTION))) for block in local
    )
    return {
        "weights": sum(count * float(w.stored_bytes(element_bytes)) for count, w in held),
        "cache": float(kept),
        "activations": alive * width,
    }


def _largest(activations: Sequence[Activation], count: int = 3) -> list[Activation]:
    """Return the tensors that an operator's input, output and the residual stream can be."""
    return sorted(activations, key=lambda a: -float(a.elements))[:count]


def _moved_bytes(blocks: Sequence[Block], width: float) -> float:
    """Bytes that all kernels together read and write."""
    total = 0.0
    for block in blocks:
        for operator in block.operators:
            for work in operator.work("forward", _EXECUTION):
                total += float(block.count) * float(work.elements) * width
    return total


def _items(model: Architecture, phase: Phase, batch: int, sequence: int) -> int:
    return batch if phase == "decode" or not model.reads_tokens else batch * sequence
