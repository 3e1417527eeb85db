"""Loads of benchmarks: laws that hold whatever the constants are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from costsim import load_hardware, load_model
from costsim.inference.engines import load_engine
from costsim.inference.layout import Layout, Quantization
from costsim.inference.outcomes import Case, Load, Outcome, Pools, outcomes

LAYOUT = Layout()
CASE = Case(
    load_model("llama3-8b"),
    load_hardware("h100"),
    LAYOUT,
    1,
    Quantization(),
    load_engine("vllm"),
    Load("closed-loop", 1000.0, 200.0, users=8.0),
)


def outcome(case: Case) -> Outcome:
    found = outcomes([case])[0]
    assert isinstance(found, Outcome)
    return found


def test_a_batch_that_starts_together_ends_when_its_steps_do() -> None:
    found = outcome(replace(CASE, load=Load("static-batch", 1000.0, 200.0, users=8.0)))
    whole = 8 * 200 / found.output_tokens_per_s
    # Half of the prompts' time comes before the mean first token.
    assert whole > found.ttft_s + 199 * found.tpot_s * 0.99
    assert whole < 2 * found.ttft_s + 199 * found.tpot_s


def test_a_burst_is_near_a_static_batch_of_as_many() -> None:
    burst = outcome(replace(CASE, load=Load("burst", 500.0, 300.0, prompts=32.0)))
    static = outcome(replace(CASE, load=Load("static-batch", 500.0, 300.0, users=32.0)))
    assert burst.output_tokens_per_s == pytest.approx(static.output_tokens_per_s, rel=0.15)
    assert burst.ttft_p50_s <= burst.ttft_p99_s


def test_a_run_that_memory_forbids_is_predicted_as_stated() -> None:
    load = Load("burst", 500.0, 50.0, prompts=4.0)
    small = replace(CASE, model=load_model("llama3-70b"), load=load)  # 141 GB on 80
    found = outcome(small)
    assert found.slots < 1
    assert found.tpot_s > outcome(replace(CASE, load=load)).tpot_s


def test_two_replicas_carry_twice_the_users_alike() -> None:
    both = replace(CASE, replicas=2, load=replace(CASE.load, users=16.0))
    one, two = outcome(CASE), outcome(both)
    assert two.tpot_s == pytest.approx(one.tpot_s)
    assert two.output_tokens_per_s == pytest.approx(2 * one.output_tokens_per_s)


def test_cases_together_are_what_they_are_alone() -> None:
    cases = [replace(CASE, load=replace(CASE.load, users=float(n))) for n in (1, 4, 64)]
    cases.append(replace(CASE, engine=load_engine("sglang")))
    together = outcomes(cases)
    for case, found in zip(cases, together, strict=True):
        assert found == outcome(case) or repr(found) == repr(outcome(case))


def test_apart_generation_is_not_held_up_by_prompts() -> None:
    system = CASE.system.with_count(8)
    pools = Pools(LAYOUT, 2, LAYOUT, 2)
    load = Load("closed-loop", 4000.0, 200.0, users=64.0)
    apart = outcome(replace(CASE, system=system, pools=pools, replicas=2, load=load))
    mixed = outcome(replace(CASE, system=system, replicas=4, load=load))
    assert apart.tpot_s < mixed.tpot_s
    cycle = apart.ttft_s + 199 * apart.tpot_s
    assert apart.requests_per_s * cycle == pytest.approx(64, rel=0.02)  # Little's law


def test_more_prompt_replicas_never_lengthen_the_wait() -> None:
    system, load = CASE.system.with_count(8), Load("closed-loop", 8000.0, 100.0, users=64.0)
    waits = [
        outcome(
            replace(CASE, system=system, pools=Pools(LAYOUT, n, LAYOUT, 2), replicas=2, load=load)
        ).ttft_s
        for n in (1, 2, 4)
    ]
    assert waits[0] > waits[1] > waits[2]
