"""Training on what is generated: its phases against their own answers, memory, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import costsim
from costsim.architectures import load_model
from costsim.errors import SpecError
from costsim.hardware import load_hardware
from costsim.inference.deployment import Deployment
from costsim.inference.engines import load_engine
from costsim.inference.layout import Layout, Quantization
from costsim.inference.simulation import simulate_replica

H100 = "nvidia-h100-sxm5-80gb"
ROLLOUTS: dict[str, Any] = {
    "generations": 8,
    "input_tokens": 512,
    "output_tokens": 256,
    "engine_memory": 0.4,
}


def planned(rollouts: dict[str, Any] | None, method: str | None = "grpo") -> Any:
    work = {"kind": "training", "tokens": 1e8, "sequence": 1024, "global_batch": 128}
    work |= {"method": method} if method else {}
    work |= {"rollouts": rollouts} if rollouts else {}
    scenario = {
        "name": "x",
        "model": "llama-3.1-8b",
        "workload": work,
        "hardware": {"system": H100, "devices": 8},
        "strategy": {"tp": 1, "pp": 1, "cp": 1, "micro_batch": 1, "zero": 3, "recompute": "full"},
        "price": "2 $/h",
    }
    return costsim.plan(scenario).best


def test_training_is_that_of_the_same_tokens_and_all_phases_are_paid() -> None:
    sft, grpo = planned(None, None), planned(ROLLOUTS)
    parts = dict(grpo.run.time_parts_s)
    generated = parts.pop("generate")
    assert parts.pop("score") == 0
    assert parts == sft.run.time_parts_s
    step = grpo.value("step_time_s")
    assert step == pytest.approx(sft.value("step_time_s") + generated)
    ratio = step / sft.value("step_time_s")
    assert grpo.value("device_hours") == pytest.approx(ratio * sft.value("device_hours"))
    devices_usd = grpo.budget.lines[0].usd  # without what checkpoints take
    assert devices_usd == pytest.approx(2 * grpo.value("device_hours"), rel=0.01)


def test_generating_takes_what_a_replica_takes_for_its_share() -> None:
    engine = load_engine("vllm").launched(memory_ratio=0.4)
    formats = Quantization("bf16", "bf16", "bf16")
    system = load_hardware(H100, 1)
    alone = Deployment(load_model("llama-3.1-8b"), system, Layout(), formats, engine)
    many = 128 // 8
    served = simulate_replica(
        alone.times,
        alone.limits,
        np.zeros(many),
        np.full(many, 512),
        np.full(many, 256),
    )
    assert planned(ROLLOUTS).run.time_parts_s["generate"] == pytest.approx(served.end_s.max())


def test_a_reference_apart_is_held_and_scores() -> None:
    none, apart = planned(ROLLOUTS), planned(ROLLOUTS | {"reference": "separate"})
    held = apart.run.memory_parts_bytes[0][1]["beside"]
    assert held == pytest.approx(2 * 8_030_261_248 / 8)
    assert none.run.memory_parts_bytes[0][1]["beside"] == 0
    # Two FLOPs a parameter and token at no more than the peak, and at no less than a third of it.
    least = 2 * 7.5e9 * 128 * 1024 / (8 * 989e12)
    assert least < apart.run.time_parts_s["score"] < 3 * least


def test_a_sleeping_engine_is_the_larger_and_an_awake_one_the_sum() -> None:
    capacity = load_hardware(H100, 1).accelerator.memory_bytes
    alone = planned(None, None)
    small, large = (planned(ROLLOUTS | {"engine_memory": share}) for share in (0.3, 0.7))
    states = sum(large.run.memory_parts_bytes[0][1][part] for part in ("weights", "optimizer"))
    whole = alone.value("memory_bytes_per_device")
    for one, share in ((small, 0.3), (large, 0.7)):
        most = max(whole, states + share * capacity)
        assert one.value("memory_bytes_per_device") == pytest.approx(most)
    awake = planned(ROLLOUTS | {"asleep": False, "engine_memory": 0.3})
    assert awake.run.memory_parts_bytes[0][1]["beside"] == pytest.approx(0.3 * capacity)


@pytest.mark.parametrize(
    ("rollouts", "method", "said"),
    [
        (ROLLOUTS, "sft", "generates nothing"),
        (None, "grpo", "how much is not said"),
        (ROLLOUTS, "grop", "grpo"),
        (ROLLOUTS | {"generations": 7}, "grpo", "no multiple of 7"),
        (ROLLOUTS | {"output_tokens": 4096}, "grpo", "a sequence 1,024"),
    ],
)
def test_what_contradicts_is_an_error(rollouts: Any, method: str, said: str) -> None:
    with pytest.raises(SpecError) as error:
        planned(rollouts, method)
    assert said in str(error.value)
