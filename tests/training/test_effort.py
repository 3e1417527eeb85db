"""How far a stack is tuned: laws that hold whatever the constants are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from costsim.architectures.catalog import load_model
from costsim.hardware.catalog import load_hardware
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.losses import losses, measured_class, powered
from costsim.training.precision import precision
from costsim.training.software import EFFORTS, software, under_effort
from costsim.training.strategy import Strategies, Strategy

STRATEGIES = [
    Strategy(dp=8, ep=8, zero=1),
    Strategy(dp=8, ep=4, zero=1, micro_batch=4),
    Strategy(pp=2, dp=4, ep=4, zero=1, recompute="full"),
    Strategy(tp=2, sp=True, dp=4, ep=4, etp=2, zero=1),
]


def job_on(device: str, model: str = "qwen3-30b-a3b", name: str = "nemo") -> Job:
    return Job(
        load_model(model),
        load_hardware(device, 8),
        global_batch=64,
        sequence=4096,
        precision=precision("bf16"),
        optimizer="adam",
        software=software(name),
    )


def step_s(job: Job, strategy: Strategy, **traits: object) -> float:
    changed = replace(job, software=replace(job.software, **traits))  # type: ignore[arg-type]
    return float(evaluate(changed, Strategies.of([strategy])).step_time_s[0])


@pytest.mark.parametrize("device", ["nvidia-h100-sxm5-80gb", "nvidia-gb200", "amd-mi300x"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_more_tuning_is_never_slower(device: str, strategy: Strategy) -> None:
    job = job_on(device)
    times = {
        effort: float(
            evaluate(
                replace(job, software=under_effort(job.software, effort)),
                Strategies.of([strategy]),
            ).step_time_s[0]
        )
        for effort in EFFORTS
    }
    assert times["tuned"] <= times["stack"] * (1 + 1e-9)
    assert times["tuned"] <= times["plain"] <= times["out_of_the_box"] * (1 + 1e-9)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("dispatcher", ["all_to_all", "all_gather", "deep_ep", "hybrid_ep"])
def test_even_routing_and_captured_steps_never_cost(strategy: Strategy, dispatcher: str) -> None:
    job = job_on("nvidia-h100-sxm5-80gb")
    for graphs in ("none", "layer", "step"):
        even = step_s(job, strategy, dispatcher=dispatcher, graphs=graphs, routing="balanced")
        natural = step_s(job, strategy, dispatcher=dispatcher, graphs=graphs, routing="natural")
        assert even <= natural
    none, layer, step = (
        step_s(job, strategy, dispatcher=dispatcher, graphs=graphs)
        for graphs in ("none", "layer", "step")
    )
    assert step <= layer <= none


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_overlap_never_beats_what_must_be_sent_or_computed(strategy: Strategy) -> None:
    job = job_on("nvidia-h100-sxm5-80gb")
    alone = evaluate(job, Strategies.of([strategy])).time_parts_s
    hidden = step_s(job, strategy, overlap_experts_ratio=1.0)
    whole = sum(float(part[0]) for part in alone.values())
    sent = float(alone["expert_parallel"][0])
    assert max(whole - sent, 0.0) <= hidden * (1 + 1e-9)
    assert hidden <= whole * (1 + 1e-9)


def test_a_dispatcher_without_unit_limits_is_no_slower_on_wide_links() -> None:
    job = job_on("nvidia-gb200")
    times = [step_s(job, STRATEGIES[0], dispatcher=name) for name in ("hybrid_ep", "deep_ep")]
    assert times[0] < times[1]


def test_a_class_without_steps_takes_its_sibling() -> None:
    assert measured_class("rtx-blackwell") == measured_class("ada") == "ampere"
    assert measured_class("neuroncore") is None
    ada, ampere = load_hardware("nvidia-l40s"), load_hardware("nvidia-a100-sxm4-80gb")
    assert losses(ada) == losses(ampere)


def test_power_sets_the_clock_within_a_class() -> None:
    """H100 PCIe has half the watts of SXM for three quarters of its peak."""
    sxm, pcie = (
        load_hardware(name).accelerator
        for name in ("nvidia-h100-sxm5-80gb", "nvidia-h100-pcie-80gb")
    )
    assert powered(sxm).peaks_flops_per_s["bf16"] == pytest.approx(
        sxm.peaks_flops_per_s["bf16"], rel=0.01
    )
    assert powered(pcie).peaks_flops_per_s["bf16"] < 0.85 * pcie.peaks_flops_per_s["bf16"]
