"""Routing: what groups of experts and fused products change of a step, and what they cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import costsim
from costsim.hardware.experts import distinct_targets, expert_exchange_time_s, reached
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.precision import precision
from costsim.training.software import software
from costsim.training.strategy import Strategies, Strategy

H100 = "nvidia-h100-sxm5-80gb"


def drawn(choices: int, targets: int, groups: int, limit: int) -> float:
    """Return how many of `targets` hold a chosen expert, by drawing groups, then experts."""
    rng, experts = np.random.default_rng(7), 16 * groups
    target_of = np.arange(experts) * targets // experts
    hit: list[int] = []
    for _ in range(4000):
        kept = rng.choice(groups, limit, replace=False)
        mine = np.flatnonzero(np.isin(np.arange(experts) // 16, kept))
        hit.append(len(set(target_of[rng.choice(mine, choices, replace=False)])))
    return float(np.mean(hit))


@pytest.mark.parametrize("targets", [2, 4, 8, 16])
@pytest.mark.parametrize(("choices", "limit"), [(8, 4), (6, 3), (8, 2)])
def test_groups_are_reached_as_often_as_drawn(choices: int, limit: int, targets: int) -> None:
    found = float(reached(choices, float(targets), 8, limit))
    assert found == pytest.approx(drawn(choices, targets, 8, limit), rel=0.06)


@given(choices=st.integers(1, 16), targets=st.integers(1, 64), limit=st.integers(1, 8))
def test_a_limit_never_adds_targets(choices: int, targets: int, limit: int) -> None:
    limited = float(reached(choices, float(targets), 8, limit))
    assert limited <= float(distinct_targets(choices, float(targets))) + 1e-12
    assert limited >= 1 - 1e-12


@given(limit=st.integers(1, 7), group=st.sampled_from([8, 16, 32, 64]))
def test_a_limit_never_slows_an_exchange(limit: int, group: int) -> None:
    system = costsim.load_hardware(H100, count=64)

    def time_s(groups: int, of: int) -> float:
        found = expert_exchange_time_s(
            system, "dispatch", 4096, 7168, 8, group, element_bytes=2, groups=groups, group_limit=of
        )
        return float(found)

    assert time_s(8, limit) <= time_s(8, limit + 1) + 1e-15 <= time_s(1, 1) + 2e-15


def mixture_job(**traits: object) -> Job:
    return Job(
        model=costsim.load_model("deepseek-v2-lite"),
        system=costsim.load_hardware(H100, count=8),
        global_batch=64,
        sequence=4096,
        precision=precision("bf16"),
        optimizer="adam",
        software=replace(software("nemo"), **traits),
    )


def step_s(job: Job) -> float:
    strategy = Strategy(
        tp=1,
        pp=1,
        vp=1,
        dp=8,
        cp=1,
        ep=8,
        etp=1,
        micro_batch=1,
        sp=False,
        zero=1,
        replicas=1,
        recompute="none",
    )
    return float(evaluate(job, Strategies.of([strategy])).step_time_s[0])


@settings(max_examples=6, deadline=None)
@given(
    graphs=st.sampled_from(["none", "layer", "step"]),
    dispatcher=st.sampled_from(["all_to_all", "deep_ep", "hybrid_ep"]),
)
def test_natural_routing_and_loose_kernels_are_never_faster(graphs: str, dispatcher: str) -> None:
    given_ = {"graphs": graphs, "dispatcher": dispatcher}
    even = step_s(mixture_job(routing="balanced", **given_))
    assert step_s(mixture_job(routing="natural", **given_)) >= even
    assert step_s(mixture_job(routing="balanced", fuses_experts=True, **given_)) <= even


def test_a_whole_step_in_a_graph_has_no_loose_kernels() -> None:
    assert step_s(mixture_job(graphs="step")) == step_s(
        mixture_job(graphs="step", fuses_experts=True)
    )
