"""The timeline of a step: laws that hold for every strategy, and agreement with the estimate."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import costsim
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.playing import orders, play
from costsim.training.precision import precision
from costsim.training.software import software
from costsim.training.strategy import Strategies, Strategy
from costsim.training.timeline import Timeline, timeline, trace_events
from training.pipeline_reference import play as reference_play

MODEL = costsim.load_model("llama-2-7b")
SYSTEM = costsim.load_hardware("nvidia-h100-sxm5-80gb", count=16)
JOB = Job(MODEL, SYSTEM, 64, 4096, precision("bf16"), "adam", software("megatron-core"))


def check(job: Job, strategy: Strategy) -> Timeline:
    found = timeline(job, strategy)
    micro_batches = job.global_batch // (strategy.dp * strategy.micro_batch)
    estimate = float(evaluate(job, Strategies.of([strategy])).step_time_s[0])
    assert max(one.end_s for one in found.slices) == pytest.approx(estimate, rel=1e-9)
    assert min(one.start_s for one in found.slices) == 0
    lanes = defaultdict(list)
    for one in found.slices:
        lanes[one.stage, one.lane].append(one)
    for slices in lanes.values():
        slices.sort(key=lambda one: one.start_s)
        for before, after in pairwise(slices):
            assert after.start_s >= before.end_s - 1e-9 * estimate
    passes = Counter(one.piece for one in found.slices if one.piece and one.lane == "compute")
    assert set(passes.values()) == {1}
    whole = {"inputs": "backward"}  # the gradients of weights follow in a slice of their own
    assert sorted(
        (whole.get(p.kind, p.kind), p.place, p.micro_batch) for p in passes if p.kind != "weights"
    ) == sorted(
        (kind, place, micro_batch)
        for kind in ("forward", "backward")
        for place in range(strategy.pp * strategy.vp)
        for micro_batch in range(micro_batches)
    )
    return found


@settings(max_examples=25)
@given(
    st.sampled_from([1, 2, 4]),
    st.sampled_from([(1, 1), (2, 1), (4, 1), (2, 2), (4, 4), (2, 8)]),
    st.sampled_from([1, 2]),
    st.integers(0, 3),
    st.sampled_from(["none", "full"]),
    st.sampled_from(["megatron-core", "fsdp", "megatron-2022"]),
)
def test_laws(
    tp: int, pipeline: tuple[int, int], micro_batch: int, zero: int, recompute: str, profile: str
) -> None:
    pp, vp = pipeline
    dp = 16 // (tp * pp)
    strategy = Strategy(
        tp=tp, pp=pp, vp=vp, dp=dp, micro_batch=micro_batch, zero=zero, sp=tp > 1,
        recompute=recompute,  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    check(replace(JOB, software=software(profile)), strategy)


def test_context_parallel_and_experts_have_lanes_of_their_own() -> None:
    job = replace(JOB, sequence=32768, global_batch=16)
    found = check(job, Strategy(tp=2, sp=True, cp=4, dp=2, zero=1))
    assert {"tp", "cp", "dp"} <= {one.lane for one in found.slices}
    job = replace(JOB, model=costsim.load_model("mixtral-8x7b"))
    found = check(job, Strategy(pp=2, dp=8, ep=8, zero=1))
    assert {"ep", "pp"} <= {one.lane for one in found.slices}


@pytest.mark.parametrize("schedule", ["gpipe", "zb_h1", "dualpipe"])
def test_other_schedules(schedule: str) -> None:
    found = check(JOB, Strategy(pp=4, dp=4, zero=1, schedule=schedule))  # pyright: ignore
    assert 0.9 < found.stretch_ratio < 1.1
    job = replace(JOB, model=costsim.load_model("mixtral-8x7b"))
    check(job, Strategy(pp=2, dp=8, ep=8, zero=1, schedule=schedule))  # pyright: ignore


def test_uneven_stages_change_little() -> None:
    # 32 layers on 5 stages, whose ends hold embedding and head.
    job = replace(JOB, global_batch=48, system=SYSTEM.with_count(15))
    found = check(job, Strategy(pp=5, dp=3, zero=1))
    assert 0.9 < found.stretch_ratio < 1.2


@pytest.mark.parametrize(
    ("stages", "chunks", "rounds"), [(1, 1, 3), (4, 1, 2), (3, 2, 2), (4, 4, 3), (8, 1, 1)]
)
def test_schedule_is_the_reference(stages: int, chunks: int, rounds: int) -> None:
    micro_batches = stages * rounds
    seconds = {"forward": 1.0, "backward": 2.5}
    played = play(
        orders(Strategy(pp=stages, vp=chunks), micro_batches), lambda _, slot: seconds[slot[0].kind]
    )
    expected, _ = reference_play(stages, chunks, micro_batches, 1.0, 2.5)
    assert max(one.end_s for one in played) == pytest.approx(expected)


def test_trace_is_what_perfetto_reads() -> None:
    found = timeline(JOB, Strategy(pp=2, dp=8, zero=1))
    trace = trace_events(found)
    assert {event["ph"] for event in trace["traceEvents"]} == {"M", "X"}
    ends = [event["ts"] + event["dur"] for event in trace["traceEvents"] if event["ph"] == "X"]
    assert max(ends) == pytest.approx(found.step_time_s * 1e6)
