"""Blocks on a device: how long the kernels of each block take, over whole columns at once.

All products of all blocks are timed in one call, all attention in one more, all passes over memory
in a third; so the cost of a call does not depend on how many rows a plan space has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costsim.algebra import Number
from costsim.architectures.block import Block
from costsim.architectures.operators import Operator
from costsim.architectures.work import Direction
from costsim.architectures.workload import Execution
from costsim.hardware.kernels import KernelModel
from costsim.hardware.timing import PARTS, TIMINGS, Setting

Array = NDArray[np.float64]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")


@dataclass(frozen=True, slots=True)
class Formats:
    """The formats that operators compute in, and the bytes of an activation element."""

    matrix: str
    other: str
    activation_bytes: float

    def of(self, operator: Operator) -> str:
        """Return the format that the products of `operator` run in."""
        return self.matrix if operator.role == "matrix" else self.other


@dataclass(frozen=True, slots=True)
class BlockTimes:
    """Seconds of one layer of each block: arrays (directions, parts, blocks, rows).

    `weight_s` (blocks, rows) is the time of gradients of weights; `launches` (directions, blocks)
    counts what the host starts: kernels, and each gradient that is put where the optimizer reads
    it.
    """

    seconds: Array
    weight_s: Array
    launches: Array

    @property
    def total_s(self) -> Array:
        """Seconds by direction, block and row."""
        return self.seconds.sum(axis=1)


def block_times(
    model: KernelModel,
    blocks: Sequence[Block],
    rows: int,
    execution: Execution,
    formats: Formats,
    directions: Sequence[Direction] = DIRECTIONS,
    *,
    frozen: bool = False,
    cache_dtype: str = "bf16",
    generates: bool = False,
) -> BlockTimes:
    """Return how long one layer of each of `blocks`, already sharded, takes on a device.

    Dimensions of the blocks are scalars or columns of `rows` values. The backward pass of `frozen`
    weights computes no gradients of them. A pass that `generates` reads its keys from a cache.
    """
    setting = Setting(
        model, execution, formats.other, formats.activation_bytes, cache_dtype, generates
    )
    seconds = np.zeros((len(directions), len(PARTS), len(blocks), rows))
    gradients = np.zeros((len(blocks), rows))
    launches = np.zeros((len(directions), len(blocks)))
    calls: dict[tuple[type[Any], Hashable], list[tuple[int, int, Any]]] = defaultdict(list)
    for index, block in enumerate(blocks):
        for operator in block.operators:
            packing = operator.packing
            dtype = formats.of(operator) if packing is None else model.runs(packing.kernels)
            for way, direction in enumerate(directions):
                if direction == "backward" and not frozen:
                    launches[way, index] += len(operator.weights())
                for work in operator.work(direction, execution):
                    if frozen and not getattr(work, "weights", True):
                        continue
                    timing = TIMINGS[type(work)]
                    launches[way, index] += timing.kernels(work, execution)
                    alike = timing.alike(work, direction, dtype)
                    calls[type(work), alike].append((way, index, work))

    for (kind, alike), pieces in calls.items():
        timing = TIMINGS[kind]
        columns = {
            name: _stack([getattr(work, name) for *_, work in pieces], rows)
            for name in timing.dimensions
        }
        part = PARTS.index(timing.part)
        times = timing.seconds(setting, columns, alike)
        for (way, index, work), time in zip(pieces, times, strict=True):
            seconds[way, part, index] += time
            if directions[way] == "backward" and not getattr(work, "weights", True):
                gradients[index] += time
    return BlockTimes(seconds, gradients, launches)


def _stack(values: Sequence[Number], rows: int) -> Array:
    stacked = np.empty((len(values), rows))
    for index, value in enumerate(values):
        stacked[index] = value
    return stacked
