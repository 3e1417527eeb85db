"""What ties and windows change: traffic of a table that both ends share, and model FLOPs."""

from __future__ import annotations

import numpy as np
import pytest

import costsim
from costsim.architectures.architecture import backward_flops, forward_flops
from costsim.architectures.workload import Workload
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.precision import precision
from costsim.training.software import software
from costsim.training.strategy import Strategies, Strategy


def _evaluated(name: str, strategy: Strategy, devices: int, sequence: int):
    model = costsim.load_model(name)
    system = costsim.load_hardware("nvidia-h100-sxm5-80gb", count=devices)
    job = Job(model, system, 64, sequence, precision("bf16"), "adam", software("megatron-core"))
    return model, job, evaluate(job, Strategies.of([strategy]))


def test_a_tied_table_is_reduced_once_where_both_ends_share_a_stage() -> None:
    model, job, alone = _evaluated("llama-3.2-1b", Strategy(dp=8), 8, 1024)
    once = 2 * 7 / 8 * model.parameters * job.recipe.reduced_bytes
    assert float(alone.sent_bytes["dp"][0]) == pytest.approx(once, rel=1e-12)
    # On two stages each end has a copy.
    _, _, split = _evaluated("llama-3.2-1b", Strategy(pp=2, dp=4), 8, 1024)
    layers = sum(
        int(block.count) * weight.elements
        for block in model.blocks()
        if block.part == "layer"
        for weight in block.weights()
    )
    ends = model.parameters - layers
    most = 2 * 3 / 4 * (layers / 2 + ends) * job.recipe.reduced_bytes
    assert float(split.sent_bytes["dp"][0]) == pytest.approx(most, rel=1e-4)


def test_model_flops_count_what_a_window_leaves() -> None:
    """Gemma 3 12B: 40 of 48 layers see 1,024 positions; the others count the whole square."""
    sequence = 32768
    model, job, found = _evaluated("gemma-3-12b-text", Strategy(dp=8), 8, sequence)
    blocks = model.blocks(Workload(1, sequence))
    whole = forward_flops(blocks) + backward_flops(blocks)
    # Forward, and twice as much backward: 2 (d + d) of each score.
    skipped = 3 * 40 * 16 * sequence * (sequence - 1024) * 2 * (256 + 256)
    assert found.model_flops / job.global_batch == pytest.approx(whole - skipped, rel=1e-12)
    assert np.isfinite(found.step_time_s).all()
