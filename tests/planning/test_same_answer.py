"""The same question has the same answer, by whichever command or function it is asked."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import costsim
from costsim.cli import main
from costsim.compression.cache import cached_in
from costsim.compression.compressing import compress
from costsim.errors import CostsimError

A100 = "nvidia-a100-sxm4-80gb"
TRAINING: dict[str, Any] = {
    "name": "t",
    "model": "gpt2-xl",
    "workload": {
        "kind": "training",
        "tokens": "4 B tokens",
        "sequence": 1024,
        "global_batch": 64,
    },
    "hardware": {"system": A100, "devices": 8},
    "price": "2 $/h",
}
SERVING: dict[str, Any] = {
    "name": "s",
    "model": "llama-3.1-8b",
    "workload": {
        "kind": "inference",
        "requests_per_s": 6,
        "input_tokens": 700,
        "output_tokens": 100,
    },
    "hardware": {"system": A100, "replica_devices": [1]},
    "price": "2 $/h",
}
FORWARD: dict[str, Any] = {
    "name": "f",
    "model": "resnet50",
    "workload": {"kind": "forward", "requests_per_s": 20000, "latency": "20 ms"},
    "hardware": {"system": A100},
    "price": "2 $/h",
}


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(["llama-3.1-8b", "mixtral-8x7b", "gpt2", "resnet50", "bert-base"]),
    st.sampled_from([A100, "nvidia-h100-sxm5-80gb", "nvidia-l40s"]),
    st.sampled_from([1, 4, 32]),
    st.sampled_from(["int8", "none"]),
)
def test_a_pass_takes_as_long_in_estimate_compress_and_python(
    capsys: pytest.CaptureFixture[str], model: str, device: str, batch: int, recipe: str
) -> None:
    shape = ("--hardware", device, "--batch", str(batch), "--sequence", "256")
    found = output(capsys, "compress", model, "--recipe", recipe, *shape)["time_s"]
    made = compress(model, [recipe])
    system = costsim.load_hardware(device, count=1)
    for phase, times in found.items():
        estimate = output(capsys, "estimate", model, *shape, "--phase", phase)
        assert times["before"] == estimate["batches"][0]["latency_s"]
        after = costsim.estimate_inference(
            made.after,
            system,
            phase=phase,
            batch=batch,
            sequence=256,
            precision="bf16",
            cache_dtype=cached_in(made.after),
        )
        assert times["after"] == after.latency_s


@pytest.mark.parametrize("scenario", [TRAINING, SERVING, FORWARD], ids=["train", "serve", "pass"])
def test_no_compression_as_an_option_changes_nothing(scenario: dict[str, Any]) -> None:
    plain = costsim.plan(scenario).to_dict()
    option = costsim.plan({**scenario, "compression": ["none"]}).to_dict()
    assert option == plain
    beside = costsim.plan({**scenario, "compression": ["none", "int8"]})
    compared = beside.comparison
    assert compared is not None
    assert compared.baseline is not None
    assert compared.baseline.value("cost_usd") == plain["best"]["cost_usd"]


def test_a_forward_pass_in_a_plan_is_that_of_the_estimate() -> None:
    best = costsim.plan({**FORWARD, "workload": {**FORWARD["workload"], "max_batch": 1}}).best
    system = costsim.load_hardware(A100, count=1)
    one = costsim.estimate_inference(costsim.load_model("resnet50"), system)
    waits = costsim.inference.engines.load_engine("generic").host_step_s
    ((_, rate, _),) = best.run.replica.curve
    assert 1 / rate == pytest.approx(one.latency_s + waits, rel=1e-12)


@settings(max_examples=4, deadline=None)
@given(st.floats(2.0, 20.0), st.floats(1.0, 48.0))
def test_a_job_costs_what_the_service_at_its_rate_costs(rate: float, hours: float) -> None:
    job = deepcopy(SERVING)
    job["workload"] |= {"kind": "job", "within": f"{hours} h", "requests": rate * hours * 3600}
    del job["workload"]["requests_per_s"]
    service = deepcopy(SERVING)
    service["workload"]["requests_per_s"] = rate * hours * 3600 / (hours * 3600.0)
    service["hardware"] |= {"spare": 0, "autoscale": False}
    service["months"] = hours / 730
    asked, held = costsim.plan(job).best, costsim.plan(service).best
    assert asked.devices == held.devices
    assert asked.value("usd_per_hour") == pytest.approx(held.value("usd_per_hour"))
    assert asked.value("cost_usd") == pytest.approx(held.value("cost_usd"), abs=0.01)


def test_python_and_the_command_line_plan_alike(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for scenario in (TRAINING, SERVING, FORWARD):
        path = tmp_path / "scenario.json"
        path.write_text(json.dumps(scenario))
        said = output(capsys, "plan", str(path), "--set", "price=3 $/h")
        made = json.loads(costsim.plan(scenario, ["price=3 $/h"]).to_json())
        assert said == made


@pytest.mark.parametrize("scenario", [TRAINING, SERVING, FORWARD], ids=["train", "serve", "pass"])
def test_every_kind_takes_settings_limits_site_and_calibration(scenario: dict[str, Any]) -> None:
    with pytest.raises(CostsimError, match="no such file"):
        costsim.plan(scenario, calibration="missing.yaml")
    found = costsim.plan({**scenario, "limits": {"cost": "1 $"}, "site": {"pue": 1.5}})
    assert found.best.value("cost_usd") > 1
    with pytest.raises(CostsimError, match=r"over \$1"):
        found.check_limits()
    clean = costsim.plan({**scenario, "site": {"grid": "FRA"}})
    assert clean.best.value("co2e_t") < found.best.value("co2e_t")
    assert clean.best.figures["cost_usd"].low is not None
    assert {"tool_version", "catalog_date", "input_hash"} <= set(clean.to_dict())


def test_a_kind_can_be_set_from_outside() -> None:
    changes = ["workload.kind=inference", "workload.requests_per_s=2"]
    changes += ["workload.input_tokens=100", "workload.output_tokens=10"]
    scenario = {**SERVING, "workload": {"kind": "training"}}
    assert costsim.plan(scenario, changes).kind == "inference"


def test_several_systems_can_train() -> None:
    scenario = deepcopy(TRAINING)
    scenario["hardware"]["system"] = [A100, "nvidia-h100-sxm5-80gb"]
    found = costsim.plan(scenario)
    apart = [
        costsim.plan({**TRAINING, "hardware": {"system": one, "devices": 8}}).best.value("cost_usd")
        for one in scenario["hardware"]["system"]
    ]
    assert found.best.value("cost_usd") == min(apart)
    assert {one.system.accelerator.id for one in found.candidates} >= {A100}


def test_what_has_no_timeline_says_so(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "service.json"
    path.write_text(json.dumps(SERVING))
    assert main(["trace", str(path)]) == 1
    assert "has no timeline" in capsys.readouterr().err


def test_places_of_errors(tmp_path: Any) -> None:
    with pytest.raises(CostsimError) as caught:
        costsim.plan({**TRAINING, "model": {"layers": 2, "heads": 2}})
    assert "<mapping>" not in str(caught.value)
    path = tmp_path / "p.yaml"
    path.write_text(
        "name: p\nmodel: gpt2\nworkload: {kind: training, tokens: 1 B, sequence: 512, "
        "global_batch: 8}\nhardware:\n  system: cerebras-cs3\n  devices: 1\n"
    )
    with pytest.raises(CostsimError) as caught:
        costsim.plan(path)
    priced = [p for p in caught.value.problems if "price" in p.message]
    assert priced
    assert all(p.location is not None and p.location.line == 5 for p in priced)
