"""The training evaluator: columns of strategies in, columns of time, memory and traffic out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

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


def evaluate(job: Job, strategies: Strategies) -> Evaluation:
    """Evaluate every strategy for one step of `job`. Nothing is filtered."""
    profiled, kinds = profile(job, strategies)
    parts = [block.part for block in kinds]
    held = stages(job.model, strategies.pp, strategies.vp, strategies.copies)
    hidden = stream_width(job.model)
    model_flops, recompute_flops = _flops(job, strategies)
    chunks = [
        _Chunk.of(job, strategies.take(some), held.take(some), profiled.take(some), parts, hidden)
        for some in (slice(i, i + CHUNK) for i in range(0, max(len(strategies), 1), CHUNK))
    ]
    times = _joined([chunk.times for chunk in chunks])
    space = Memory(
        _joined([chunk.memory.parts for chunk in chunks]),
        _joined([chunk.memory.host_parts for chunk in chunks]),
        np.concatenate([chunk.memory.moment for chunk in chunks]),
        _joined([chunk.memory.moments for chunk in chunks]),
    )
    return Evaluation(
        strategies=strategies,
        step_time_s=total(times.values()),
        time_parts_s=times,
        memory_bytes=np.concatenate([over_types(chunk.memory.total_bytes) for chunk in chunks]),
        memory=space,
        stages=held,
        sent_bytes=_joined([chunk.sent for chunk in chunks]),
        model_flops=model_flops,
        recompute_flops=recompute_flops,
        tokens_per_step=job.global_batch * job.sequence,
    )


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Figures of some of the strategies."""

    times: dict[str, Column]
    memory: Memory
    sent: dict[str, Column]

    @classmethod
    def of(
        cls,
        job: Job,
        strategies: Strategies,
        held: Stages,
        profiled: Profile,
        parts: list[str],
        hidden: float,
    ) -> _Chunk:
        micro_batches = job.global_batch / (strategies.dp * strategies.micro_batch)
        data = data_parallel(job, strategies, held, profiled, micro_batches)
        boundary_s, boundary_bytes = pipeline_transfer(job, strategies, hidden)
        return cls(
            step_times(job, strategies, held, profiled, data, micro_batches, boundary_s),
            memory(job, strategies, held, profiled, parts),
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
    model, *samples = _sample_flops(job.model, job.sequence, job.execution, modes_of(strategies))
    added = np.zeros(len(RECOMPUTE))
    added[[RECOMPUTE.index(mode) for mode in modes_of(strategies)]] = samples
    again = added[strategies.recompute.astype(np.intp)]
    return model * job.global_batch, again * job.global_batch


@lru_cache(maxsize=64)
def _sample_flops(
    model: Architecture, sequence: int, execution: Execution, modes: tuple[Recompute, ...]
) -> tuple[float, ...]:
    """Return FLOPs of one sample's step, and those that each of `modes` repeats.

    Attention counts the full square, masked or not (the convention of Narayanan et al. 2021), but
    of layers with a window only what the window leaves.
    """
    blocks = model.blocks(Workload(1, sequence))
    whole = sum(_seen(block, way, FUSED) for block in blocks for way in ("forward", "backward"))
    repeated = (
        sum(
            _seen(again, "forward", execution)
            for again in (
                remade(block, block.saved(execution), mode, execution).again(block)
                for block in blocks
            )
        )
        for mode in modes
    )
    return float(whole), *map(float, repeated)


def _seen(block: Block, direction: Direction, execution: Execution) -> Number:
    work = (piece for operator in block.operators for piece in operator.work(direction, execution))
    return block.count * sum(
        piece.seen_flops if isinstance(piece, ScaledDotProduct) else piece.flops for piece in work
    )


@lru_cache(maxsize=64)
def stream_width(model: Architecture) -> float:
    """Return the elements of one token in the residual stream, which stages pass on."""
    return float(model.blocks()[0].source.elements)


__all__ = ["TIME_PARTS", "Evaluation", "evaluate"]
