"""Plans of services: what they promise holds, more never costs less, and bad input is one error."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from costsim.errors import InfeasiblePlanError, SpecError
from costsim.inference.metrics import Objective
from costsim.inference.traffic import random_traffic
from costsim.planning import plan
from costsim.planning.workloads.serving.capacity import day_of, pools_for, replicas_for
from inference.serving_setup import deployment

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
SMALL: dict[str, Any] = {
    "name": "A small service",
    "model": "llama3-8b",
    "workload": {
        "kind": "inference",
        "requests_per_s": 12.0,
        "input_tokens": 800,
        "output_tokens": 150,
        "mean_ratio": 0.6,
        "slo": {"ttft": "1 s", "tpot": "40 ms"},
    },
    "hardware": {"system": ["h100", "a100-sxm4-80gb"], "precision": "bf16", "spare": 1},
    "price": "2 $/h",
}


def changed(**places: Any) -> dict[str, Any]:
    """Return the small service with values set at dotted places (dots written as `__`)."""
    found = deepcopy(SMALL)
    for place, value in places.items():
        *steps, last = place.split("__")
        at: dict[str, Any] = found
        for step in steps:
            at = at.setdefault(step, {})
        if value is None:
            at.pop(last)
        else:
            at[last] = value
    return found


def test_a_plan_keeps_its_objectives_and_adds_up() -> None:
    found = plan(SMALL)
    best = found.best
    assert found.kind == "inference"
    assert best.run.measured.attainment_ratio >= 0.99
    assert best.run.measured.ttft.p99_s <= 1.0 or best.run.measured.attainment_ratio >= 0.99
    # Dollars: device-hours of a day at the price; tokens: those of the mean rate.
    assert best.value("usd_per_hour") == pytest.approx(best.run.day.replica_hours / 24 * 2.0)
    tokens = 12.0 * 0.6 * 3600 * (800 + 150) / 1e6
    assert best.value("usd_per_mtok") == pytest.approx(
        best.value("usd_per_hour") / tokens, rel=0.01
    )
    paid = best.value("usd_per_mtok_input") * 800 + best.value("usd_per_mtok_output") * 150
    assert paid == pytest.approx(best.value("usd_per_mtok") * 950, rel=0.01)
    assert best.value("usd_per_hour") == min(one.value("usd_per_hour") for one in found.candidates)
    assert {one.run.replica.system.accelerator.id for one in found.candidates} == {
        "nvidia-h100-sxm5-80gb",
        "nvidia-a100-sxm4-80gb",
    }
    # One replica fewer would not do.
    assert plan(SMALL).to_json() == found.to_json()


def test_more_traffic_needs_no_fewer_devices() -> None:
    devices = [
        plan(changed(workload__requests_per_s=rate)).best.devices for rate in (2.0, 20.0, 80.0)
    ]
    assert devices == sorted(devices)
    assert devices[0] < devices[-1]


def test_leaving_out_what_is_dearer_changes_no_answer() -> None:
    found = plan(SMALL)
    # Where devices are counted all layouts are sized, as a mix may need any of them.
    every = plan(changed(hardware__available={"h100": 9999, "a100-sxm4-80gb": 9999}))
    assert found.feasible < every.feasible
    assert found.best.label == every.best.label

    def cheapest(one: Any) -> list[tuple[str, int, float]]:
        return [(c.label, c.run.replicas, c.value("usd_per_hour")) for c in one.candidates]

    assert cheapest(found) == cheapest(every)


def test_capacity_is_the_fewest_replicas_that_keep_the_objective() -> None:
    one = deployment()
    traffic = random_traffic(60.0, 4000, 800, 150, seed=3)
    objective = Objective(ttft_s=0.5, tpot_s=0.04)
    sizes = [replicas_for(one, traffic, objective, start, 64) for start in (1, 4, 30)]
    (replicas,) = {sized.replicas for sized in sizes if sized is not None}
    assert None not in sizes
    assert replicas > 1
    assert replicas_for(one, traffic, objective, 1, replicas - 1) is None


def test_a_day_runs_fewer_replicas_at_night() -> None:
    day = day_of(10, 50.0, 0.6, 1, autoscale=True)
    assert max(day.replicas) == 11
    assert min(day.replicas) == day.replicas[0] < 6
    assert sum(day.rates_per_s) / 24 == pytest.approx(0.6 * 50.0, rel=0.1)
    fixed = day_of(10, 50.0, 0.6, 1, autoscale=False)
    assert set(fixed.replicas) == {11}
    assert day.replica_hours < fixed.replica_hours == 24 * 11


def test_an_objective_that_nothing_meets_says_what_comes_nearest() -> None:
    with pytest.raises(InfeasiblePlanError, match="nothing keeps the objectives") as caught:
        plan(changed(workload__slo={"tpot": "1 ms"}))
    hint = caught.value.problems[0].hint
    assert hint is not None
    assert "nearest: NVIDIA" in hint
    assert caught.value.exit_code == 3


def test_a_model_that_fits_nowhere_is_no_plan() -> None:
    with pytest.raises(InfeasiblePlanError, match="fits on no replica"):
        plan(
            changed(
                model="llama-3.1-405b", hardware={"system": "h100", "replica_devices": [1, 2, 4]}
            )
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workload__requests_per_s": 0.0}, "requests_per_s"),
        ({"workload__input_tokens": 100_000}, "has positions for 8,192 tokens"),
        ({"workload__input_tokens": None}, "state `input_tokens` and `output_tokens`"),
        ({"workload__trace": "none.csv"}, "lengths come from the trace"),
        ({"workload__engine": "vllmm"}, "unknown engine `vllmm`"),
        ({"hardware__precision": "fp3"}, "unknown number format `fp3`"),
        ({"hardware__system": "h1000"}, "unknown hardware `h1000`"),
        ({"workload__speculation": {"tokens": 2, "accepted": 3.5}}, "yields from 1 to 3"),
        ({"model": "resnet50"}, "generates no tokens"),
    ],
)
def test_bad_input_is_one_clear_error(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        plan(changed(**change))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("name", ["llama3-70b-chat", "rag-prefix-cache", "batch-offline"])
def test_example_scenarios_are_planned(name: str) -> None:
    settings = ["hardware.system=nvidia-h100-sxm5-80gb", "hardware.precision=fp8"]
    found = plan(SCENARIOS / f"{name}.yaml", settings)
    assert found.best.devices >= 1
    assert found.to_dict()["best"]["deploy"]


def test_a_recorded_trace_is_planned_at_the_rate_asked_for(tmp_path: Path) -> None:
    lines = ["arrived_at,num_prefill_tokens,num_decode_tokens"]
    lines += [f"{index * 0.5},{200 + index % 700},{20 + index % 130}" for index in range(600)]
    (tmp_path / "trace.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    scenario = changed(
        workload__input_tokens=None, workload__output_tokens=None, workload__trace="trace.csv"
    )
    path = tmp_path / "service.yaml"
    path.write_text(yaml.safe_dump(scenario), encoding="utf-8")
    best = plan(path).best
    assert best.run.measured.completed == 600
    assert best.run.measured.request_per_s == pytest.approx(12.0, rel=0.2)


def test_pools_apart_keep_the_objective_too() -> None:
    one = deployment()
    traffic = random_traffic(60.0, 4000, 800, 150, seed=3)
    objective = Objective(ttft_s=0.5, tpot_s=0.04)
    together = replicas_for(one, traffic, objective, 3, 64)
    assert together is not None
    apart = pools_for(one, traffic, objective, together.replicas, 0.3)
    assert apart is not None
    assert apart.measured.meets(objective)
    assert min(apart.prompts, apart.generation) >= 1


def test_a_model_larger_than_a_node_has_stages_in_several() -> None:
    found = plan(
        changed(model="llama-3.1-405b", hardware__system="h100", workload__slo={"ttft": "5 s"})
    )
    layout = found.best.run.replica.layout
    assert layout.pp > 1
    assert layout.devices == layout.tp * layout.pp


@pytest.mark.parametrize("name", ["bert-embedding", "resnet50-images", "stable-diffusion"])
def test_passes_are_planned_as_services(name: str) -> None:
    found = plan(SCENARIOS / f"{name}.yaml", ["hardware.system=nvidia-l4"])
    best = found.best
    assert not found.details.generates
    promised = found.details.objective.e2e_s
    assert promised is not None
    assert best.run.measured.attainment_ratio >= found.details.objective.percentile / 100
    # A result takes a pass at least, and a device yields no more than its largest batch does.
    fastest = min(1 / result for _, result, _ in best.run.replica.curve)
    assert best.run.measured.e2e.median_s >= fastest
    most = max(device for *_, device in best.run.replica.curve)
    assert best.run.measured.request_per_s <= best.run.replicas * most * 1.05
    assert found.to_dict()["best"]["deploy"] is None


def test_a_pass_longer_than_the_model_takes_is_an_error() -> None:
    with pytest.raises(SpecError, match="has positions for 512 tokens, not 600"):
        plan(SCENARIOS / "bert-embedding.yaml", ["workload.sequence=600"])


def test_a_cached_prefix_saves_devices() -> None:
    long = {"workload__input_tokens": 6000, "workload__requests_per_s": 60.0}
    plain = plan(changed(**long))
    cached = plan(changed(**long, workload__cached=0.8))
    assert cached.best.devices < plain.best.devices


@pytest.mark.parametrize(
    ("engine", "flag"),
    [
        ("vllm", "--prefill-context-parallel-size 2"),
        ("sglang", "--tp-size 4 --attn-cp-size 2"),
        ("tensorrt-llm", "--cp_size 2"),
    ],
)
def test_context_parallelism_is_planned_where_it_is_listed(engine: str, flag: str) -> None:
    found = plan(
        changed(
            workload__engine=engine,
            hardware__system="h100",
            hardware__replica_devices=4,
            hardware__cp=2,
        )
    )
    assert {str(one.run.replica.layout) for one in found.candidates} == {"tp2-cp2"}
    assert found.to_dict()["best"]["layout"]["cp"] == 2
    assert flag in found.to_dict()["best"]["deploy"]
