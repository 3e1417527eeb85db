"""Blocks on a device: how long the kernels of each block take, over whole columns at once.

All products of all blocks are timed in one call, all attention in one more, all passes over memory
in a third; so the cost of a call does not depend on how many rows a plan space has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costsim.algebra import Number
from costsim.architectures.block import Block
from costsim.architectures.operators import Operator
from costsim.architectures.work import (
    Convolved,
    Direction,
    Gemm,
    GroupedGemm,
    ScaledDotProduct,
    Stream,
)
from costsim.architectures.workload import Execution
from costsim.hardware.attention import attention_time_s
from costsim.hardware.convolution import convolution_time_s
from costsim.hardware.gemm import gemm_time_s
from costsim.hardware.kernels import KernelModel
from costsim.hardware.streaming import streaming_time_s

Array = NDArray[np.float64]
PARTS = ("matrix", "attention", "memory")
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

    `core_s` (blocks, rows) is the forward time of attention proper, which selective recomputation
    repeats; `kernels` (directions, blocks) counts launches.
    """

    seconds: Array
    core_s: Array
    kernels: Array

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
) -> BlockTimes:
    """Return how long one layer of each of `blocks`, already sharded, takes on a device.

    Dimensions of the blocks are scalars or columns of `rows` values. The backward pass of `frozen`
    weights computes no gradients of them.
    """
    seconds = np.zeros((len(directions), len(PARTS), len(blocks), rows))
    core = np.zeros((len(blocks), rows))
    kernels = np.zeros((len(directions), len(blocks)))
    gemms: dict[str, list[tuple[int, int, Gemm]]] = defaultdict(list)
    convolutions: dict[str, list[tuple[int, int, Convolved]]] = defaultdict(list)
    attentions: dict[tuple[bool, bool, Direction], list[tuple[int, int, ScaledDotProduct]]] = (
        defaultdict(list)
    )
    streams: list[tuple[int, int, Stream]] = []
    for index, block in enumerate(blocks):
        for operator in block.operators:
            for way, direction in enumerate(directions):
                for work in operator.work(direction, execution):
                    if frozen and isinstance(work, Gemm | Convolved) and not work.weights:
                        continue
                    match work:
                        case Gemm() | GroupedGemm():
                            gemm = work.product if isinstance(work, GroupedGemm) else work
                            gemms[formats.of(operator)].append((way, index, gemm))
                            kernels[way, index] += 1
                        case Convolved():
                            convolutions[formats.of(operator)].append((way, index, work))
                            kernels[way, index] += 1
                        case ScaledDotProduct():
                            kind = (work.causal, work.window is None, direction)
                            attentions[kind].append((way, index, work))
                            kernels[way, index] += 1 if execution.attention == "flash" else 5
                        case Stream():
                            streams.append((way, index, work))
                            kernels[way, index] += float(work.kernels)

    for dtype, found in gemms.items():
        m, n, k, count = (
            _stack([getattr(work, name) for *_, work in found], rows)
            for name in ("m", "n", "k", "count")
        )
        for (way, index, _), time in zip(
            found, gemm_time_s(model, m, n, k, dtype, count), strict=True
        ):
            seconds[way, 0, index] += time
    for dtype, found in convolutions.items():
        m, n, k, count, gathered, elements = (
            _stack([getattr(work, name) for *_, work in found], rows)
            for name in ("m", "n", "k", "count", "read", "elements")
        )
        times = convolution_time_s(model, m, n, k, dtype, count, gathered, elements)
        for (way, index, _), time in zip(found, times, strict=True):
            seconds[way, 0, index] += time
    for (causal, unlimited, direction), some in attentions.items():
        dims = {
            name: _stack([getattr(work, name) for *_, work in some], rows)
            for name in (
                "batch",
                "query_heads",
                "kv_heads",
                "query_tokens",
                "kv_tokens",
                "head_dim",
                "value_dim",
            )
        }
        window = None if unlimited else _stack([work.window for *_, work in some], rows)
        times = attention_time_s(
            model,
            **dims,
            dtype=formats.other,
            causal=causal,
            window=window,
            direction=direction,
            implementation="unfused" if execution.attention == "unfused" else "flash",
            dropout=execution.dropout,
        )
        for (way, index, _), time in zip(some, times, strict=True):
            seconds[way, 1, index] += time
            if direction == "forward":
                core[index] += time
    if streams:
        moved = _stack([work.elements for *_, work in streams], rows) * formats.activation_bytes
        launches = _stack([work.kernels for *_, work in streams], rows)
        for (way, index, _), time in zip(
            streams, streaming_time_s(model, moved, launches), strict=True
        ):
            seconds[way, 2, index] += time
    return BlockTimes(seconds, core, kernels)


def _stack(values: Sequence[Number], rows: int) -> Array:
    stacked = np.empty((len(values), rows))
    for index, value in enumerate(values):
        stacked[index] = value
    return stacked
