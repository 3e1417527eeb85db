"""The roofline: each operator's intensity and the rate it reaches, beside the device's peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from costsim.architectures.block import Block
from costsim.architectures.work import Direction, ScaledDotProduct, Work
from costsim.architectures.workload import Execution
from costsim.hardware.attention import attention_pairs
from costsim.hardware.blocks import Formats, block_times
from costsim.hardware.kernels import KernelModel, column


@dataclass(frozen=True, slots=True)
class OperatorFigures:
    """What one operator executes and moves in one pass of one layer on one device."""

    name: str
    flops: float
    moved_bytes: float
    seconds: float

    @property
    def intensity_flops_per_byte(self) -> float:
        return self.flops / self.moved_bytes if self.moved_bytes else 0.0


def _executed_flops(work: Work, execution: Execution) -> float:
    """Return the FLOPs that a kernel executes: fused attention skips what the mask hides."""
    flops = float(work.flops)
    if not isinstance(work, ScaledDotProduct) or execution.attention == "unfused":
        return flops
    pairs = attention_pairs(
        column(work.query_tokens), column(work.kv_tokens), work.causal, work.window
    )
    return flops * float(pairs) / (float(work.query_tokens) * float(work.kv_tokens))


def operator_figures(
    model: KernelModel,
    block: Block,
    execution: Execution,
    formats: Formats,
    directions: Sequence[Direction] = ("forward",),
) -> tuple[OperatorFigures, ...]:
    """Return the figures of each operator of a sharded block with scalar dimensions."""
    alone = [Block(op.name, (op,), block.source) for op in block.operators]
    times = block_times(model, alone, 1, execution, formats, directions).total_s.sum(axis=0)
    found: list[OperatorFigures] = []
    for operator, seconds in zip(block.operators, times[:, 0], strict=True):
        works = [w for direction in directions for w in operator.work(direction, execution)]
        moved = sum(float(work.elements) for work in works) * formats.activation_bytes
        flops = sum(_executed_flops(work, execution) for work in works)
        found.append(OperatorFigures(operator.name, flops, moved, float(seconds)))
    return tuple(found)
