"""Published figures of training runs and their memory, predicted from configurations alone."""

from __future__ import annotations

import numpy as np
import pytest

import costsim
from costsim.training.estimate import TrainingEstimate
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.precision import precision
from costsim.training.software import software
from costsim.training.strategy import Strategies, Strategy

GIB = 2**30
PARTS = ("weights", "gradients", "optimizer")

# Korthikanti et al. 2022 (arXiv 2205.05198), table 5: seconds of a step on A100 80GB. "full" is
# the baseline without sequence parallelism, "selective" runs with it.
STEPS = [
    ("megatron-22b", 8, 4, Strategy(tp=8, micro_batch=4, recompute="full"), 1.42),
    ("megatron-22b", 8, 4, Strategy(tp=8, micro_batch=4, sp=True, recompute="selective"), 1.10),
    ("megatron-175b", 64, 64, Strategy(tp=8, pp=8, vp=3, recompute="full"), 18.13),
    ("megatron-175b", 64, 64, Strategy(tp=8, pp=8, vp=3, sp=True, recompute="selective"), 13.75),
    ("megatron-530b", 280, 280, Strategy(tp=8, pp=35, vp=3, recompute="full"), 49.05),
    ("megatron-530b", 280, 280, Strategy(tp=8, pp=35, vp=3, sp=True, recompute="selective"), 37.83),
    ("megatron-1t", 512, 512, Strategy(tp=8, pp=64, recompute="full"), 94.42),
    ("megatron-1t", 512, 512, Strategy(tp=8, pp=64, sp=True, recompute="selective"), 71.49),
]


def estimated(model: str, devices: int, batch: int, strategy: Strategy) -> TrainingEstimate:
    return costsim.estimate_training(
        costsim.load_model(model),
        costsim.load_hardware("nvidia-a100-sxm4-80gb", count=devices),
        strategy,
        global_batch=batch,
        sequence=2048,
        precision="fp16",
        software="megatron-2022",
    )


def test_steps_of_korthikanti_et_al() -> None:
    errors = [
        estimated(model, devices, batch, strategy).step_time_s / measured - 1
        for model, devices, batch, strategy, measured in STEPS
    ]
    assert np.mean(np.abs(errors)) <= 0.06, errors
    assert np.max(np.abs(errors)) <= 0.12, errors


def test_gpt3_takes_the_published_34_days() -> None:
    # Narayanan et al. 2021 (arXiv 2104.04473, §5.1): 300 B tokens, 1,024 A100, batch 1,536, at
    # 140 TFLOP/s a device with recomputation counted.
    strategy = Strategy(tp=8, pp=8, vp=3, dp=16, recompute="full")
    found = estimated("gpt3-175b", 1024, 1536, strategy)
    days = found.step_time_s * 300e9 / (1536 * 2048) / 86_400
    assert days == pytest.approx(34, rel=0.15)
    assert found.hfu_ratio * 312e12 == pytest.approx(140e12, rel=0.15)


def first_stage_of_megatron_175b() -> tuple[dict[str, float], dict[str, float]]:
    """Memory by part of the layers, and of embedding or head besides, on the first stage."""
    job = Job(
        model=costsim.load_model("megatron-175b"),
        system=costsim.load_hardware("nvidia-a100-sxm4-80gb", count=64),
        global_batch=64,
        sequence=2048,
        precision=precision("fp16"),
        optimizer="adam",
        software=software("megatron-2022"),
    )
    strategy = Strategy(tp=8, pp=8, vp=3, sp=True, recompute="selective")
    evaluation = evaluate(job, Strategies.of([strategy]))
    first = int(np.flatnonzero(evaluation.stages.position[0] == 0)[0])
    middle = int(np.flatnonzero(evaluation.stages.position[0] == 1)[0])
    parts = evaluation.memory.parts
    stage = {part: float(figure[0, first]) for part, figure in parts.items()}
    layers = {part: float(parts[part][0, middle]) for part in PARTS}
    return stage, {part: stage[part] - layers[part] for part in PARTS}


def test_states_of_korthikanti_et_al_figure_1() -> None:
    # 18 bytes a parameter of twelve layers on eight devices: 45.56 GiB. The figure leaves out
    # the embedding, which the first stage holds besides.
    stage, embedding = first_stage_of_megatron_175b()
    layers = sum(stage[part] - embedding[part] for part in PARTS)
    assert layers == pytest.approx(45.56 * GIB, rel=0.02)
    words, positions = 51_200 * 12_288 / 8, 2048 * 12_288
    assert sum(embedding.values()) == pytest.approx(18 * (words + positions), rel=0.001)


def test_activations_of_korthikanti_et_al_figure_1() -> None:
    # 34·s·b·h/t a layer, times L·(1 + (p − 1)/(p·v)): 12.35 GiB on the first stage.
    stage, _ = first_stage_of_megatron_175b()
    assert stage["activations"] == pytest.approx(12.35 * GIB, rel=0.02)
