"""The roofline: each operator's intensity and the rate it reaches, beside the device's peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from costsim.architectures.block import Block
from costsim.architectures.work import Direction
from costsim.architectures.workload import Execution
from costsim.hardware.blocks import Formats, block_times
from costsim.hardware.kernels import KernelModel


@dataclass(frozen=True, slots=True)
class OperatorFigures:
    """What one operator does in one pass of one layer on one device."""

    name: str
    flops: float
    moved_bytes: float
    seconds: float

    @property
    def intensity_flops_per_byte(self) -> float:
        return self.flops / self.moved_bytes if self.moved_bytes else 0.0


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
        flops = sum(float(work.flops) for work in works)
        found.append(OperatorFigures(operator.name, flops, moved, float(seconds)))
    return tuple(found)
