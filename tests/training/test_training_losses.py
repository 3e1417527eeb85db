from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from costsim.architectures import load_model
from costsim.hardware import load_hardware
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.losses import Losses, losses
from costsim.training.precision import precision
from costsim.training.software import software, software_names
from costsim.training.strategy import Strategies, Strategy

NONE_LOST = Losses(1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)


def job(count: int = 16, profile: str = "fsdp", **changes: object) -> Job:
    found = Job(
        model=load_model("llama-2-7b"),
        system=load_hardware("nvidia-a100-sxm4-80gb", count),
        global_batch=64,
        sequence=4096,
        precision=precision("bf16"),
        optimizer="adam",
        software=software(profile),
    )
    return replace(found, **changes)  # type: ignore[arg-type]


STRATEGIES = Strategies.of(
    [
        Strategy(dp=16, zero=3),
        Strategy(dp=16, zero=3, recompute="full"),
        Strategy(tp=8, dp=2, sp=True, zero=1),
        Strategy(tp=4, pp=2, dp=2, sp=True, zero=1, micro_batch=2),
        Strategy(dp=16, zero=3, replicas=2),
    ]
)


@pytest.mark.parametrize("profile", software_names())
def test_parts_sum_to_the_step_and_none_is_negative(profile: str) -> None:
    found = evaluate(job(profile=profile), STRATEGIES)
    assert np.allclose(np.sum(list(found.time_parts_s.values()), axis=0), found.step_time_s)
    assert all((part >= 0).all() for part in found.time_parts_s.values())


def test_nothing_lost_is_faster() -> None:
    lossy = evaluate(job(), STRATEGIES).step_time_s
    assert (evaluate(job(losses=NONE_LOST), STRATEGIES).step_time_s < lossy).all()


def test_hiding_traffic_never_beats_what_computes_and_what_moves() -> None:
    """With all of it allowed to hide, a step still takes the longer of the two."""
    found = evaluate(job(), STRATEGIES)
    computing = sum(found.time_parts_s[n] for n in ("matrix", "attention", "memory_bound"))
    assert (found.step_time_s >= computing).all()
    slow = replace(job().system.tiers[-1], bandwidth_bytes_per_s=1e9)
    system = replace(job().system, tiers=(*job().system.tiers[:-1], slow))
    waiting = evaluate(job(system=system), STRATEGIES)
    # Every micro-batch of ZeRO-3 gathers 2 x 2 bytes and scatters 2 a parameter over the NICs.
    moved = 6 * job().model.parameters * (2 - 1) / 2 / 8 * 4 / 1e9
    assert waiting.step_time_s[0] >= moved


def test_copies_of_a_sharded_model_hold_more_and_send_less_between_nodes() -> None:
    found = evaluate(job(), STRATEGIES)
    assert found.memory_bytes[4] > found.memory_bytes[0]
    slow = replace(job().system.tiers[-1], bandwidth_bytes_per_s=2e9)
    system = replace(job().system, tiers=(*job().system.tiers[:-1], slow))
    waiting = evaluate(job(system=system), STRATEGIES)
    assert waiting.step_time_s[4] < waiting.step_time_s[0]


def test_frozen_weights_have_no_states_no_update_and_no_gradients_to_exchange() -> None:
    found = evaluate(job(frozen=True), STRATEGIES)
    assert (found.time_parts_s["optimizer"] == 0).all()
    assert (found.memory.parts["optimizer"] == 0).all()
    assert (found.memory.parts["gradients"] == 0).all()
    whole = evaluate(job(), STRATEGIES)
    assert (found.step_time_s < whole.step_time_s).all()


def test_inputs_quantized_to_eight_bits_are_kept_so() -> None:
    hopper = load_hardware("nvidia-h100-sxm5-80gb", 16)
    wide = evaluate(job(system=hopper), STRATEGIES).memory.parts["activations"].max(axis=1)
    narrow = evaluate(job(system=hopper, precision=precision("fp8")), STRATEGIES)
    kept = narrow.memory.parts["activations"].max(axis=1)
    assert (kept[[0, 2]] < wide[[0, 2]]).all()
    assert kept[1] == wide[1]  # full recomputation keeps the residual stream alone


@pytest.mark.parametrize("name", ["nvidia-a100-sxm4-80gb", "amd-mi300x", "google-tpu-v5p"])
def test_every_class_has_losses_in_range(name: str) -> None:
    found = losses(load_hardware(name))
    assert 0.4 < found.sustained_ratio <= 1.2
    assert 0.4 < found.sustained_attention_ratio <= 1.2
    assert 0 <= found.contention_ratio < 0.5
    assert 0 <= found.straggler_ratio < 0.05
    assert 1 <= found.routing_ratio < 2
