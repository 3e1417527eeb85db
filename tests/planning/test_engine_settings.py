"""Settings of the engine: of the scenario, of the plan and of the command that starts it."""

from __future__ import annotations

from typing import Any

import pytest

import costsim
from costsim.errors import SpecError


def planned(**workload: Any):
    stated = {"kind": "inference", "requests_per_s": 2, "input_tokens": 1000, "output_tokens": 200}
    return costsim.plan(
        {
            "name": "Settings",
            "model": "llama-3.1-8b",
            "workload": {**stated, **workload},
            "hardware": {"system": "nvidia-h100-sxm5-80gb"},
        }
    )


def command(plan: Any) -> str:
    return plan.to_dict()["best"]["deploy"]


def test_the_command_says_what_the_scenario_does() -> None:
    said = command(
        planned(
            gpu_memory_utilization=0.98,
            max_model_len=4096,
            max_num_seqs=64,
            max_num_batched_tokens=2048,
        )
    )
    assert "--gpu-memory-utilization 0.98" in said
    assert "--max-model-len 4096" in said
    assert "--max-num-seqs 64" in said
    assert "--max-num-batched-tokens 2048" in said


def test_settings_change_what_is_planned() -> None:
    free, narrow = planned(), planned(max_num_seqs=1)
    assert narrow.best.devices > free.best.devices
    assert "--gpu-memory-utilization 0.9" in command(free)


@pytest.mark.parametrize(
    ("workload", "said"),
    [
        ({"max_model_len": 100}, "longer than 100"),
        ({"gpu_memory_utilization": 1.5}, "gpu_memory_utilization"),
        ({"max_num_seqs": 0}, "max_num_seqs"),
        ({"scheduler": "fifo"}, "scheduler"),
        ({"engine": "vlm"}, "unknown engine"),
    ],
)
def test_wrong_settings_are_errors_at_their_place(workload: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        planned(**workload)
