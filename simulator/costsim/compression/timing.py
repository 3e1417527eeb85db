"""Time of one pass of a model on one device, by the roofline of that device and measured kernels.

A matrix that a recipe packed runs in the first of its formats that the device multiplies in; where
that is 16 bits, it gains traffic and not compute.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from costsim.algebra import Number
from costsim.architectures import Architecture
from costsim.architectures.block import Block
from costsim.architectures.operators import CrossEntropy, Operator
from costsim.architectures.workload import Execution, Workload
from costsim.compression.description import Compressed
from costsim.compression.storing import QuantizeCache
from costsim.hardware import Accelerator
from costsim.hardware.blocks import Formats, block_times
from costsim.hardware.kernels import load_kernel_model

Phase: TypeAlias = Literal["forward", "prefill", "decode"]

_EXECUTION = Execution(style="fused", attention="flash", latent="absorbed", batch_norm="folded")


def pass_time_s(
    model: Architecture,
    accelerator: Accelerator,
    *,
    phase: Phase,
    batch: int,
    sequence: int,
    dtype: str = "bf16",
) -> float:
    """Return seconds of one pass.

    Args:
        model: what runs, compressed or not.
        accelerator: one device; that the model fits is not asked.
        phase: "forward", "prefill" (logits of the last position alone) or "decode" (one token more
            for each sequence of `sequence` tokens).
        batch: sequences, or images.
        sequence: tokens in each.
        dtype: format of what is not packed.

    Raises:
        UnknownNameError: where the device has no products in any format of a recipe.
    """
    decode = phase == "decode"
    work = Workload.generation(batch, sequence) if decode else Workload(batch, sequence)
    blocks = [_served(block) for block in model.blocks(work)]
    if phase == "prefill":  # the head works on the last position alone
        last = Workload(batch, 1, sequence)
        heads = [_served(block) for block in model.blocks(last) if block.part == "head"]
        blocks = [block for block in blocks if block.part != "head"] + heads
    times = block_times(
        load_kernel_model(accelerator),
        blocks,
        1,
        _EXECUTION,
        Formats(dtype, dtype, 4.0 if dtype in ("fp32", "tf32") else 2.0),
        ("forward",),
        cache_dtype=cached_in(model, dtype),
        generates=decode,
    )
    return sum(
        float(block.count) * float(times.total_s[0, index, 0]) for index, block in enumerate(blocks)
    )


def cached_in(model: Architecture, dtype: str = "bf16") -> str:
    """Return the format that reading the model's cache is timed in: at most 8 bits are fp8."""
    bits: Number = 16
    if isinstance(model.description, Compressed):
        for step in model.description.passes:
            if isinstance(step, QuantizeCache):
                bits = step.bits
    if bits <= 8:
        return "fp8"
    return dtype if dtype in ("fp32", "fp16") else "bf16"


def _served(block: Block) -> Block:
    kept: tuple[Operator, ...] = tuple(
        operator for operator in block.operators if not isinstance(operator, CrossEntropy)
    )
    return replace(block, operators=kept)
