"""Schedulers: prompts that join steps or have their own, in closed form as in the simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from costsim.inference.deployment import (
    Deployment,
    disaggregated_if_kept,
    simulate,
    simulate_disaggregated,
    simulate_if_kept,
)
from costsim.inference.engines import Scheduler
from costsim.inference.metrics import Objective
from costsim.inference.simulation import simulate_replica
from costsim.inference.steady import Requests, Steady, closed_loop
from costsim.inference.traffic import random_traffic
from inference.serving_setup import deployment

MODELS = (("llama3-8b", 1), ("llama3-70b", 4))
ENGINES = ("vllm", "sglang", "tensorrt-llm")
_BUSY = 0.3  # of the time, above which prompts queue


def scheduled(one: Deployment, scheduler: Scheduler) -> Deployment:
    return replace(one, engine=one.engine.launched(scheduler=scheduler))


def in_closed_form(one: Deployment, users: int, inputs: float, outputs: float) -> Steady:
    lengths = Requests(np.array([inputs]), np.array([outputs]))
    return closed_loop(one.tables, one.engine, np.array([0]), np.array([float(users)]), lengths)


def in_simulation(
    one: Deployment, users: int, inputs: float, outputs: float, seed: int
) -> tuple[float, float, float]:
    """Return TPOT, TTFT and requests a second of a closed loop, its start and end left out."""
    rng = np.random.default_rng(seed)
    number = users * 12 + 40
    prompts = np.round(inputs * rng.uniform(0.5, 1.5, number))
    wanted = np.round(outputs * rng.uniform(0.5, 1.5, number))
    start = np.sort(rng.uniform(0.0, outputs * one.times.base_s[users], users))
    found = simulate_replica(
        one.times, one.limits, start, prompts, wanted, think_s=np.zeros(number)
    )
    last, longest = found.sent_s.max(), (found.end_s - found.sent_s).max()
    begin, end = min(2 * longest, 0.4 * last), max(last - longest, 0.7 * last)
    kept = (found.sent_s >= begin) & (found.sent_s <= end)
    tpot_s = ((found.end_s - found.first_s) / (wanted - 1.0))[kept].mean()
    ttft_s = (found.first_s - found.sent_s)[kept].mean()
    return float(tpot_s), float(ttft_s), float(kept.sum() / (end - begin))


@pytest.mark.parametrize("engine", ENGINES)
def test_closed_form_and_simulation_agree_where_prompts_do_not_queue(engine: str) -> None:
    served = [deployment(tp, model=model, engine=engine) for model, tp in MODELS]
    rng = np.random.default_rng(7)
    errors: list[float] = []
    while len(errors) < 40:
        one = served[rng.integers(len(served))]
        users = round(2 ** rng.uniform(0, 6))
        inputs, outputs = 2 ** rng.uniform(6, 12), 2 ** rng.uniform(6, 10)
        found = in_closed_form(one, users, inputs, outputs)
        if found.prompt_share[0] > _BUSY:
            continue
        tpot_s, _, _ = in_simulation(one, users, inputs, outputs, len(errors))
        errors.append(abs(found.tpot_s[0] / tpot_s - 1.0))
    assert np.median(errors) < 0.02
    assert np.quantile(errors, 0.9) < 0.05


@pytest.mark.parametrize("inputs", [200, 3000])
def test_both_say_what_prompts_first_do_to_tokens(inputs: int) -> None:
    first = scheduled(deployment(), "prefill_first")
    mixed = scheduled(deployment(), "mixed")
    assert first.limits.prompts_first
    assert not mixed.limits.prompts_first
    forms = [in_closed_form(one, 32, inputs, 200) for one in (first, mixed)]
    simulated = [in_simulation(one, 32, inputs, 200, 1) for one in (first, mixed)]
    # The weights are read once more for each prompt, and those who generate wait meanwhile.
    assert forms[0].tpot_s[0] > forms[1].tpot_s[0]
    assert simulated[0][0] > simulated[1][0]
    for form, (tpot_s, _, rate) in zip(forms, simulated, strict=True):
        assert form.tpot_s[0] == pytest.approx(tpot_s, rel=0.08)
        assert form.requests_per_s[0] == pytest.approx(rate, rel=0.1)


def test_a_prompt_alone_takes_its_pass_and_the_host() -> None:
    one = scheduled(deployment(), "prefill_first")
    served = simulate_replica(
        one.times, one.limits, np.zeros(1), np.array([1000.0]), np.array([2.0])
    )
    times = one.times
    attention_s = float(times.prompts_s(np.array([1000.0]))[0])
    alone_s = times.receive_s + times.tokens_s[1000] + attention_s
    assert served.first_s[0] == pytest.approx(alone_s + times.launch_s + one.engine.host_step_s)


@pytest.mark.parametrize("ttft_s", [1e-4, 0.05, 10.0])
def test_a_run_that_is_cut_short_would_have_failed(ttft_s: float) -> None:
    one, objective = deployment(), Objective(ttft_s=ttft_s, percentile=95.0)
    traffic = random_traffic(30.0, 600, 500, 60, spread=0.5, seed=3)
    whole = simulate(one, 3, traffic, objective)
    found = simulate_if_kept(one, 3, traffic, objective)
    assert (found is None) == (not whole.meets(objective))
    assert found is None or found == whole
    pools = simulate_disaggregated(one, 2, one, 1, traffic, objective)
    apart = disaggregated_if_kept(one, 2, one, 1, traffic, objective)
    assert (apart is None) == (not pools.meets(objective))
    assert apart is None or apart == pools
