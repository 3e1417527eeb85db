"""Faults that people reported of plans, each with the right answer worked out by hand."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

import costsim
from costsim.cli import main
from costsim.compression import compress
from costsim.errors import InfeasiblePlanError
from costsim.hardware import load_hardware
from costsim.inference.engines import load_engine
from costsim.planning import plan
from costsim.planning.study import read
from costsim.planning.workloads.serving.replicas import layouts_of
from costsim.resources import data_folder
from costsim.units import parse_quantity

TRAINING: dict[str, Any] = {
    "name": "t",
    "model": "llama-3.1-8b",
    "workload": {
        "kind": "training",
        "tokens": "100 B tokens",
        "sequence": 8192,
        "global_batch": 512,
    },
    "hardware": {"system": "nvidia-h200-sxm-141gb", "devices": 512},
    "strategy": {"tp": 1, "pp": 1, "cp": 1, "micro_batch": 1},
    "price": "2 $/h",
}
SERVING: dict[str, Any] = {
    "name": "s",
    "model": "llama-3.1-8b",
    "workload": {
        "kind": "inference",
        "requests_per_s": 2,
        "input_tokens": 1000,
        "output_tokens": 200,
    },
    "hardware": {"system": "nvidia-h100-sxm5-80gb", "replica_devices": [1]},
    "price": "2 $/h",
}


def changed(scenario: dict[str, Any], **places: Any) -> dict[str, Any]:
    found = deepcopy(scenario)
    for place, value in places.items():
        *steps, last = place.split("__")
        at = found
        for step in steps:
            at = at.setdefault(step, {})
        at[last] = value
    return found


def launched(**places: Any) -> str:
    return plan(changed(SERVING, **places)).to_dict()["best"]["deploy"]


def test_a_checkpoint_is_as_large_under_every_zero_stage() -> None:
    # bf16 weights, fp32 master weights and two moments: 14 bytes of 8.03 B parameters, of which
    # each of 512 devices writes its part at 0.12 GB/s.
    stall_s = 14 * 8.03e9 / 512 / 0.12e9
    for zero in (1, 3):
        note = plan(changed(TRAINING, strategy__zero=zero)).best.run.goodput.note
        assert f"of {stall_s:.0f} s" in note


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "html", "json"])
def test_a_vision_language_model_trained_on_text_has_a_report(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = changed(
        TRAINING,
        model="qwen2.5-vl-7b",
        workload__tokens="1 B tokens",
        workload__sequence=2048,
        workload__global_batch=64,
        hardware__devices=8,
    )
    path = tmp_path / "vl.yaml"
    path.write_text(yaml.safe_dump(scenario), encoding="utf-8")
    assert main(["plan", str(path), "--format", form]) == 0
    assert len(capsys.readouterr().out) > 500


def test_ranks_hold_whole_heads_of_keys_and_values() -> None:
    from costsim.architectures import load_model

    system = load_hardware("nvidia-h100-sxm5-80gb")
    # Ten heads of keys and values: neither do 4 ranks divide them, nor they 4 ranks.
    found = layouts_of(load_model("phi-3-medium"), system, [1, 2, 4, 5, 10])
    assert {one.tp for one in found} == {1, 2, 5, 10}


def test_heads_that_do_not_divide_are_not_blamed_on_memory() -> None:
    with pytest.raises(InfeasiblePlanError, match="28 attention heads do not divide"):
        plan(changed(SERVING, model="qwen2.5-7b", hardware__replica_devices=[8]))


@pytest.mark.parametrize(
    ("engine", "limit"),
    [
        ("vllm", "--max-model-len"),
        ("sglang", "--context-length"),
        ("tensorrt-llm", "--max_seq_len"),
    ],
)
def test_a_printed_command_starts_a_replica(engine: str, limit: str) -> None:
    command = launched(workload__engine=engine)
    assert "meta-llama/Llama-3.1-8B" in command
    # Room for the longest request, not for all positions of the model.
    found = re.search(limit + r" (\d+)", command)
    assert found is not None
    assert 1200 <= int(found[1]) < 2048


def test_weights_of_a_quantized_checkpoint_are_not_quantized_again() -> None:
    assert "--quantization" not in launched(hardware__precision="w4a16")
    assert "--quantization fp8" in launched(hardware__precision="fp8")
    assert "--quantization" not in launched(hardware__precision="bf16")


def test_drafts_are_launched_with_their_method_or_not_at_all() -> None:
    drafts = {"tokens": 3, "accepted": 2.5}
    assert "speculative" not in launched(workload__speculation=drafts)
    left_out = plan(changed(SERVING, workload__speculation=drafts)).notes
    assert any("method is not stated" in note for note in left_out)
    drafts |= {"method": "eagle3", "model": "someone/a-draft"}
    command = launched(workload__speculation=drafts)
    (config,) = re.findall(r"--speculative-config '(.*?)'", command)
    assert yaml.safe_load(config) == {
        "method": "eagle3",
        "model": "someone/a-draft",
        "num_speculative_tokens": 3,
    }


def test_every_engine_that_can_be_launched_is_one_that_serves() -> None:
    table = yaml.safe_load((data_folder("hardware_specs") / "engines/launch.yaml").read_text())
    launchable = [name for row in table.values() for name in row["engines"]]
    assert {"vllm", "sglang", "tensorrt-llm"} <= set(launchable)
    assert len(set(launchable)) == len(launchable)
    assert all(load_engine(name).name for name in launchable)


@pytest.mark.parametrize("precision", ["mxfp8", "nvfp4"])
def test_narrow_recipes_train_where_their_kernels_are_known(precision: str) -> None:
    scenario = changed(
        TRAINING, hardware__system="nvidia-b200-sxm-180gb", workload__precision=precision
    )
    narrow, wide = plan(scenario).best, plan(changed(scenario, workload__precision="bf16")).best
    assert narrow.value("step_time_s") < wide.value("step_time_s")
    assert 0 < narrow.value("mfu_ratio") < 1


def test_spot_devices_come_with_a_word_on_preemption() -> None:
    # The price list decides what it costs; that it may be taken back must be said.
    scenario = changed(TRAINING, hardware__system="nvidia-h100-sxm5-80gb", hardware__devices=64)
    on_demand = plan(changed(scenario, price={"term": "on_demand"}))
    spot = plan(changed(scenario, price={"term": "spot"}))
    assert any("taken back" in note for note in spot.notes)
    assert not any("taken back" in note for note in on_demand.notes)
    # ... and that its restarts cost: never less than its useful hours at its price.
    lost = plan(changed(scenario, price={"term": "spot"}, failures={"preemption": "50 h"}))
    assert 1 > on_demand.best.run.goodput.ratio > spot.best.run.goodput.ratio
    assert spot.best.run.goodput.ratio > lost.best.run.goodput.ratio
    for one in (spot, lost):
        useful = one.best.run.useful_days * 24 * one.best.devices
        assert one.best.value("cost_usd") > useful * one.price.usd_per_device_hour
    assert lost.best.value("cost_usd") > spot.best.value("cost_usd")


@pytest.mark.parametrize(
    ("text", "tokens"), [("2T", 2e12), ("300B", 3e11), ("1.5 M", 1.5e6), ("2T tokens", 2e12)]
)
def test_counts_of_tokens_need_no_unit(text: str, tokens: float) -> None:
    assert parse_quantity(text, "tokens") == tokens


def test_plans_are_short_in_a_console() -> None:
    planned = plan(TRAINING)
    best = planned.best
    model = costsim.load_model("llama-3.1-8b")
    for shown in (
        *(planned, best, best.budget, best.figures["cost_usd"], best.price, best.system),
        *(model, best.system.accelerator, costsim.fit("llama-3.1-8b", "rtx-4090")),
        compress(model, "awq-int4"),
    ):
        assert 20 < len(repr(shown)) < 300


def test_tables_of_reports_keep_words_whole() -> None:
    # `anywhere` lets a column shrink to one letter; what is too wide scrolls, or wraps in print.
    style = (data_folder("reports") / "style" / "report.css").read_text()
    assert "overflow-wrap: anywhere" not in style
    assert "overflow-wrap: break-word" in style
    columns = re.findall(r"grid-template-columns:([^;]*)", style)
    # A track that its content may widen squeezes the others; one with a least width wraps.
    assert not any("1fr" in re.sub(r"minmax\((0|\d+px), 1fr\)", "", one) for one in columns)


def test_the_title_says_what_was_set_on_the_command_line() -> None:
    settings = ["hardware.devices=512", "compare=[]"]
    assert read("gpt3", settings)[0].value["name"] == (
        "Training GPT-3 175B on 1,024 A100 (hardware.devices=512, compare=[])"
    )
    many = [f"site.note{index}=a long value" for index in range(9)]
    assert read("gpt3", many)[0].value["name"].endswith("A100 (9 values changed)")
    assert read("gpt3", ["name=Mine", "price=3 $/h"])[0].value["name"] == "Mine"
    assert read("gpt3")[0].value["name"] == "Training GPT-3 175B on 1,024 A100"
