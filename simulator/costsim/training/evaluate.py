"""The training evaluator: columns of strategies in, columns of time, memory and traffic out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costsim.hardware.blocks import PARTS
from costsim.hardware.kernels import load_kernel_model
from costsim.hardware.streaming import streaming_time_s
from costsim.training.job import Job
from costsim.training.memory import Memory, memory
from costsim.training.optimizers import state_bytes_per_parameter
from costsim.training.profile import Profile, profile
from costsim.training.stages import Stages, stages
from costsim.training.strategy import Column, Strategies
from costsim.training.traffic import DataTraffic, data_parallel, pipeline_transfer

TIME_PARTS = (
    "matrix",
    "attention",
    "memory_bound",
    "recompute",
    "tensor_parallel",
    "context_parallel",
    "pipeline_transfer",
    "pipeline_bubble",
    "data_parallel",
    "optimizer",
    "host",
)
CHUNK = 16_384  # rows evaluated at a time: their intermediate columns stay in the cache


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
    held = stages(job.model.blocks(), strategies.pp, strategies.vp)
    micro_batches = job.global_batch / (strategies.dp * strategies.micro_batch)
    space = memory(job, strategies, held, profiled, parts)
    data = data_parallel(job, strategies, held, profiled, micro_batches)
    hidden = next(float(np.max(b.source.elements)) for b in job.model.blocks())
    times = _step_times(job, strategies, held, profiled, data, micro_batches, hidden)
    return Evaluation(
        strategies=strategies,
        step_time_s=np.sum(list(times.values()), axis=0),
        time_parts_s=times,
        memory_bytes=space.total_bytes.max(axis=1),
        memory=space,
        stages=held,
        sent_bytes=_sent(job, strategies, held, profiled, data, micro_batches, hidden),
        model_flops=float(job.model.training_flops(1, job.sequence)) * job.global_batch,
        recompute_flops=_recompute_flops(job, strategies),
        tokens_per_step=job.global_batch * job.sequence,
    )


def _step_times(
    job: Job,
    strategies: Strategies,
    held: Stages,
    profiled: Profile,
    data: DataTraffic,
    micro_batches: Column,
    hidden: float,
) -> dict[str, Column]:
    """Seconds of a step by part, along its critical path: the slowest stage and the bubble."""
    software = job.software
    rows = np.arange(len(strategies))
    mode = strategies.recompute.astype(int)
    counts = held.counts

    def staged(figures: np.ndarray) -> np.ndarray:
        return np.einsum("rtk,kr->rt", counts, figures)

    parts_s = profiled.gather(profiled.parts_s)  # (directions, parts, blocks, strategies)
    compute = {name: staged(parts_s[:, i].sum(axis=0)) for i, name in enumerate(PARTS)}
    recompute = staged(profiled.gather(profiled.recompute_s)[mode, :, rows].T)
    exposed = 1 - software.overlap_tensor_ratio
    tensor = staged(profiled.gather(profiled.tensor_s).sum(axis=0)) * exposed
    context = staged(profiled.gather(profiled.context_s).sum(axis=0))
    busy = sum(compute.values()) + recompute
    # The host launches kernels one after another; where it is slower than they are, they wait.
    launches = staged(
        np.broadcast_to(profiled.kernels.sum(axis=0)[:, None], (counts.shape[2], len(rows)))
    )
    launched = launches * software.launch_s
    # ZeRO-3 gathers ahead of the layer at work; what computation does not cover is waited for.
    moved = data.micro_gather_s * 2 + data.micro_reduce_s
    hidden_s = np.minimum(moved, busy) * software.overlap_gathers_ratio
    waited = moved - hidden_s
    host = np.maximum(0.0, launched - busy - tensor - context)
    stage_s = busy + tensor + context + host + waited  # one micro-batch, both directions

    once, _ = pipeline_transfer(job, strategies, hidden)
    # A stage receives once forward and once backward for each chunk of each micro-batch.
    transfer = 2 * strategies.vp * once * (1 - software.overlap_pipeline_ratio)

    worst = stage_s.argmax(axis=1)
    slowest = stage_s[rows, worst]
    everywhere = (held.many * stage_s).sum(axis=1)
    bubble = (everywhere - slowest + (strategies.pp - 1) * 2 * once) / strategies.vp

    # After the last micro-batch's backward pass gradients remain that it could not hide; the
    # gather of updated weights hides behind the next step's first forward pass.
    backward_s = staged(parts_s[1].sum(axis=0)) + recompute
    forward_s = staged(parts_s[0].sum(axis=0))
    reduce_s = data.reduce_s - software.overlap_gradients_ratio * np.minimum(
        data.reduce_s, backward_s
    )
    gather_s = data.gather_s - software.overlap_gathers_ratio * np.minimum(data.gather_s, forward_s)
    exchanged = (reduce_s + gather_s).max(axis=1)

    def critical(figures: np.ndarray) -> Column:
        return micro_batches * figures[rows, worst]

    return {
        "matrix": critical(compute["matrix"]),
        "attention": critical(compute["attention"]),
        "memory_bound": critical(compute["memory"]),
        "recompute": critical(recompute),
        "tensor_parallel": critical(tensor),
        "context_parallel": critical(context),
        "pipeline_transfer": micro_batches * transfer,
        "pipeline_bubble": bubble,
        "data_parallel": exchanged + critical(waited),
        "optimizer": _optimizer_s(job, strategies, held, profiled),
        "host": critical(host) + software.step_s,
    }


def _optimizer_s(job: Job, strategies: Strategies, held: Stages, profiled: Profile) -> Column:
    """Seconds of the update: a pass over gradients, states, master and working weights."""
    recipe = job.recipe
    weights = profiled.gather(profiled.weights + profiled.expert_weights)
    whole: Column = np.einsum("rtk,kr->rt", held.counts, weights).max(axis=1)
    shards = strategies.dp * strategies.cp / strategies.replicas
    share = np.where(strategies.zero > 0, whole / shards, whole)
    # Gradients are read twice (norm, update); states and master weights read and written.
    moved = share * (
        2 * recipe.gradient_bytes
        + 2 * state_bytes_per_parameter(job.optimizer)
        + 2 * max(recipe.master_bytes, recipe.weight_bytes)
        + recipe.weight_bytes
    )
    return streaming_time_s(load_kernel_model(job.system.accelerator), moved, np.array(4.0))


def _sent(
    job: Job,
    strategies: Strategies,
    held: Stages,
    profiled: Profile,
    data: DataTraffic,
    micro_batches: Column,
    hidden: float,
) -> dict[str, Column]:
    """Bytes that a device of the busiest stage sends in a step, by axis."""
    again = np.where(strategies.recompute == 2, 1.5, 1.0)  # forward exchanges happen twice

    def staged(figures: np.ndarray) -> Column:
        return np.einsum("rtk,kr->rt", held.counts, figures).max(axis=1)

    _, boundary = pipeline_transfer(job, strategies, hidden)
    return {
        "tp": micro_batches * again * staged(profiled.gather(profiled.tensor_bytes)),
        "cp": micro_batches * again * staged(profiled.gather(profiled.context_bytes)),
        "pp": micro_batches * 2 * strategies.vp * boundary,
        "dp": data.sent_bytes.max(axis=1),
    }


def _recompute_flops(job: Job, strategies: Strategies) -> Column:
    """FLOPs that recomputation adds to a step, over all devices."""
    from costsim.architectures.architecture import forward_flops
    from costsim.architectures.workload import Workload

    blocks = job.model.blocks(Workload(1, job.sequence))
    layers = tuple(block for block in blocks if block.part == "layer")
    full = float(forward_flops(layers)) * job.global_batch
    core = float(
        sum(
            block.count * work.flops
            for block in layers
            for operator in block.operators
            if operator.role == "attention"
            for work in operator.work("forward", job.software.execution)
        )
    ) * (job.global_batch if job.software.attention == "unfused" else 0)
    return np.select([strategies.recompute == 1, strategies.recompute == 2], [core, full], 0.0)
