"""The training evaluator: columns of strategies in, columns of time, memory and traffic out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from costsim.algebra import Number
from costsim.architectures.architecture import Architecture
from costsim.architectures.block import Block
from costsim.architectures.work import Direction, ScaledDotProduct
from costsim.architectures.workload import FUSED, Execution, Workload
from costsim.training.job import Job
from costsim.training.memory import Memory, memory
from costsim.training.profile import Profile, profile
from costsim.training.recompute import RECOMPUTE, Recompute
from costsim.training.reductions import over_blocks, over_types, total
from costsim.training.remaking import remade
from costsim.training.repeated import modes_of
from costsim.training.stages import Stages, stages
from costsim.training.strategy import Column, Strategies
from costsim.training.timing import TIME_PARTS, step_times
from costsim.training.traffic import DataTraffic, data_parallel, pipeline_transfer
from costsim.training.updates import drives_s

CHUNK = 4096
"""Strategies evaluated at a time: their columns of all stages and parts stay in the cache."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What each strategy costs: columns of one length (and arrays by stage type, 0 if absent).

    `time_parts_s` sum to `step_time_s`. `memory_bytes` is that of the fullest stage.
    """

    strategies: Strategies
    step_time_s: Column
    time_parts_s: dict[str, Column]
    memory_bytes: Column
    memory: Memory
    stages: Stages
    sent_bytes: dict[str, Column]
    model_flops: float  # of one step, without recomputation
    recompute_flops: Column  # of one step, over all devices
    tokens_per_step: int

    def __len__(self) -> int:
        return len(self.step_time_s)

    def take(self, index: np.ndarray | slice) -> Evaluation:
        """Return the evaluation of the strategies at `index`."""

        def taken(columns: dict[str, Column]) -> dict[str, Column]:
            return {name: column[index] for name, column in columns.items()}

        return replace(
            self,
            strategies=self.strategies.take(index),
            step_time_s=self.step_time_s[index],
            time_parts_s=taken(self.time_parts_s),
            memory_bytes=self.memory_bytes[index],
            memory=self.memory.take(index),
            stages=self.stages.take(index),
            sent_bytes=taken(self.sent_bytes),
            recompute_flops=self.recompute_flops[index],
        )


class Sieve(Protocol):
    """Says which strategies are worth timing."""

    def promising(
        self, strategies: Strategies, held: Stages, profiled: Profile
    ) -> NDArray[np.bool_]:
        """Return which are worth asking what they hold, by what their layers cost."""
        ...

    def fits(self, strategies: Strategies, memory: Memory) -> NDArray[np.bool_]:
        """Return which are worth timing, by what they hold."""
        ...


def evaluate(job: Job, strategies: Strategies, sieve: Sieve | None = None) -> Evaluation:
    """Evaluate strategies for one step of `job`: all, or those that pass through `sieve`."""
    profiled, kinds = profile(job, strategies)
    held = stages(job.model, strategies.pp, strategies.vp, strategies.copies)
    space = _Space(job, strategies, held, profiled, [block.part for block in kinds])
    rows = max(len(strategies), 1)
    chunks = [space.chunk(slice(start, start + CHUNK), sieve) for start in range(0, rows, CHUNK)]
    if sieve is not None:
        kept = np.concatenate([chunk.kept for chunk in chunks])
        strategies, held = strategies.take(kept), held.take(kept)
    times = _joined([chunk.times for chunk in chunks])
    holding = Memory.joined([chunk.memory for chunk in chunks])
    model_flops, recompute_flops = _flops(job, strategies)
    return Evaluation(
        strategies=strategies,
        step_time_s=total(times.values()),
        time_parts_s=times,
        memory_bytes=over_types(holding.total_bytes),
        memory=holding,
        stages=held,
        sent_bytes=_joined([chunk.sent for chunk in chunks]),
        model_flops=model_flops,
        recompute_flops=recompute_flops,
        tokens_per_step=job.global_batch * job.sequence,
    )


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Figures of some of the strategies, and which of all they are."""

    kept: np.ndarray
    times: dict[str, Column]
    memory: Memory
    sent: dict[str, Column]


@dataclass(frozen=True, slots=True)
class _Space:
    """Strategies, and what layers cost under each."""

    job: Job
    strategies: Strategies
    held: Stages
    profiled: Profile
    parts: list[str]

    def take(self, index: np.ndarray | slice) -> _Space:
        """Return the strategies at `index`."""
        return replace(
            self,
            strategies=self.strategies.take(index),
            held=self.held.take(index),
            profiled=self.profiled.take(index),
        )

    def chunk(self, some: slice, sieve: Sieve | None) -> _Chunk:
        """Return the figures of the strategies at `some` that pass through `sieve`."""
        job, part = self.job, self
        kept = np.arange(len(self.strategies))[some]
        if sieve is not None:
            part = self.take(kept)
            kept = kept[sieve.promising(part.strategies, part.held, part.profiled)]
        part = self.take(kept)
        space = memory(job, part.strategies, part.held, part.profiled, self.parts)
        if sieve is not None:
            chosen = sieve.fits(part.strategies, space)
            kept, space, part = kept[chosen], space.take(chosen), part.take(chosen)
        strategies, held, profiled = part.strategies, part.held, part.profiled
        micro_batches = job.global_batch / (strategies.dp * strategies.micro_batch)
        data = data_parallel(job, strategies, held, profiled, micro_batches)
        boundary_s, boundary_bytes = pipeline_transfer(job, strategies, stream_width(job.model))
        times = step_times(job, strategies, held, profiled, data, micro_batches, boundary_s)
        driven = drives_s(job, strategies, space.drive_parts)
        return _Chunk(
            kept,
            times | {"offload": times["offload"] + over_types(driven)},
            space,
            _sent(strategies, held, profiled, data, micro_batches, boundary_bytes),
        )


def _joined(chunks: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _sent(
    strategies: Strategies,
    held: Stages,
    profiled: Profile,
    data: DataTraffic,
    micro_batches: Column,
    boundary_bytes: Column,
) -> dict[str, Column]:
    """Bytes that a device of the busiest stage sends in a step, by axis."""
    exchanged, repeated = profiled.exchanged, profiled.repeated

    def passed(once: np.ndarray, again: np.ndarray) -> Column:
        if not once.any():
            return np.zeros(len(strategies))
        layers = profiled.gather(once.sum(axis=0)) + profiled.gather_repeated(again)
        return micro_batches * over_types(over_blocks(held.counts, layers)) / strategies.copies

    return {
        "tp": passed(exchanged.tensor_bytes, repeated.tensor_bytes),
        "cp": passed(exchanged.context_bytes, repeated.context_bytes),
        "ep": passed(exchanged.expert_bytes, repeated.expert_bytes),
        "pp": micro_batches * 2 * strategies.vp * boundary_bytes,
        "dp": over_types(data.sent_bytes),
    }


def _flops(job: Job, strategies: Strategies) -> tuple[float, Column]:
    """Return a step's FLOPs without recomputation, and what that adds to each strategy."""
    model, *samples = _sample_flops(
        job.model, job.sequence, job.execution, modes_of(strategies), job.attention_flops
    )
    added = np.zeros(len(RECOMPUTE))
    added[[RECOMPUTE.index(mode) for mode in modes_of(strategies)]] = samples
    again = added[strategies.recompute.astype(np.intp)]
    return model * job.global_batch, again * job.global_batch


@lru_cache(maxsize=64)
def _sample_flops(
    model: Architecture,
    sequence: int,
    execution: Execution,
    modes: tuple[Recompute, ...],
    counted: str = "full",
) -> tuple[float, ...]:
    """Return FLOPs of one sample's step, and those that each of `modes` repeats.

    Attention counts the full square, masked or not (the convention of Narayanan et al. 2021), but
    of layers with a window only what the window leaves; `counted` causal, only pairs that no mask
    hides.
    """
    blocks = model.blocks(Workload(1, sequence))
    ways: tuple[Direction, ...] = ("forward", "backward")
    whole = sum(_seen(block, way, FUSED, counted) for block in blocks for way in ways)
    repeated = (
        sum(
            _seen(again, "forward", execution, counted)
            for again in (
                remade(block, block.saved(execution), mode, execution).again(block)
                for block in blocks
            )
        )
        for mode in modes
    )
    return float(whole), *map(float, repeated)


def _seen(block: Block, direction: Direction, execution: Execution, counted: str) -> Number:
    work = (piece for operator in block.operators for piece in operator.work(direction, execution))
    return block.count * sum(
        (piece.unmasked_flops if counted == "causal" else piece.seen_flops)
        if isinstance(piece, ScaledDotProduct)
        else piece.flops
        for piece in work
    )


@lru_cache(maxsize=64)
def stream_width(model: Architecture) -> float:
    """Return the elements of one token in the residual stream, which stages pass on."""
    return float(model.blocks()[0].source.elements)


__all__ = ["TIME_PARTS", "Evaluation", "evaluate"]
