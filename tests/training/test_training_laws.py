"""Laws of step times: of any model, machine, strategy and software."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import costsim
from costsim.architectures import model_names
from costsim.hardware.systems import System
from costsim.resources import data_folder
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.passes import one_pass
from costsim.training.precision import precision
from costsim.training.profile import profile
from costsim.training.software import software, software_names
from costsim.training.stages import stages
from costsim.training.strategy import Strategies, Strategy
from costsim.training.traffic import data_parallel

SYSTEMS = ("nvidia-h100-sxm5-80gb", "nvidia-b200-sxm-180gb", "amd-mi300x", "google-tpu-v5p")
MODELS = ("llama-2-7b", "mixtral-8x7b", "gpt2-xl")

divisions = st.sampled_from(
    [
        *({"tp": t, "pp": p, "dp": 16 // (t * p)} for t in (1, 2, 8) for p in (1, 2)),
        {"pp": 4, "vp": 2, "dp": 4},
        {"cp": 4, "dp": 4},
        {"dp": 16, "ep": 8},
    ]
)
switches = st.fixed_dictionaries(
    {
        "zero": st.integers(0, 3),
        "sp": st.booleans(),
        "recompute": st.sampled_from(["none", "selective", "full"]),
        "micro_batch": st.sampled_from([1, 2]),
    }
)
pipelines = st.sampled_from(["1f1b", "gpipe", "zb_h1", "dualpipe"])


@cache
def machine(name: str) -> System:
    return costsim.load_hardware(name, count=16)


def job(system: str, model: str, profile_: str, recipe: str = "bf16") -> Job:
    return Job(
        costsim.load_model(model), machine(system), 128, 1024, precision(recipe), "adam",
        software(profile_),
    )  # fmt: skip


def strategy(division: dict, switch: dict, schedule: str) -> Strategy:
    axes = division | switch
    if axes.get("pp", 1) == 1 or axes.get("vp", 1) > 1:
        schedule = "1f1b"
    if axes.get("tp", 1) == 1:
        axes["sp"] = False
    return Strategy(**axes, schedule=schedule)  # type: ignore[arg-type]


def faster(system: System, what: str, factor: float) -> System:
    """Return a machine with more of one thing."""
    device = system.accelerator
    if what == "peaks":
        rates = {name: factor * rate for name, rate in device.peaks_flops_per_s.items()}
        return replace(system, accelerator=replace(device, peaks_flops_per_s=rates))
    if what == "memory":
        rate = factor * device.memory_bandwidth_bytes_per_s
        return replace(system, accelerator=replace(device, memory_bandwidth_bytes_per_s=rate))
    if what == "host":
        rate = factor * (device.pcie_bytes_per_s or 0)
        return replace(system, accelerator=replace(device, pcie_bytes_per_s=rate))
    tier = int(what.removeprefix("tier "))
    tiers = list(system.tiers)
    rate = factor * tiers[tier].bandwidth_bytes_per_s
    tiers[tier] = replace(tiers[tier], bandwidth_bytes_per_s=rate)
    return replace(system, tiers=tuple(tiers))


@settings(max_examples=120)
@given(
    st.sampled_from(SYSTEMS),
    st.sampled_from(MODELS),
    st.sampled_from(software_names()),
    divisions,
    switches,
    pipelines,
    st.sampled_from(["peaks", "memory", "tier 0", "tier 1"]),
    st.floats(1.01, 8),
)
def test_more_of_anything_is_never_slower(
    system: str,
    model: str,
    profile_: str,
    division: dict,
    switch: dict,
    schedule: str,
    what: str,
    factor: float,
) -> None:
    plain = job(system, model, profile_)
    if what == "tier 1" and len(plain.system.tiers) < 2:
        what = "tier 0"
    chosen = Strategies.of([strategy(division, switch, schedule)])
    before = float(evaluate(plain, chosen).step_time_s[0])
    better = replace(plain, system=faster(plain.system, what, factor))
    # Where the host holds a pass up, less work on weights fills a split backward's bubbles less:
    # W is the device's own time, F and B are not. It makes up a few ten-thousandths.
    slack = 2e-3 if schedule in ("zb_h1", "dualpipe") else 1e-9
    assert float(evaluate(better, chosen).step_time_s[0]) <= before * (1 + slack)


@settings(max_examples=20)
@given(st.sampled_from(["optimizer", "activations", "all"]), divisions, switches)
def test_a_faster_host_link_is_never_slower(offload: str, division: dict, switch: dict) -> None:
    plain = job(SYSTEMS[0], MODELS[0], "megatron-core")
    chosen = replace(strategy(division, switch, "1f1b"), offload=offload)  # type: ignore[arg-type]
    chosen = Strategies.of([chosen])
    before = float(evaluate(plain, chosen).step_time_s[0])
    better = replace(plain, system=faster(plain.system, "host", 2.0))
    assert float(evaluate(better, chosen).step_time_s[0]) <= before * (1 + 1e-9)


@settings(max_examples=60)
@given(
    st.sampled_from(SYSTEMS),
    st.sampled_from(MODELS),
    st.sampled_from(software_names()),
    divisions,
    switches,
    st.floats(0.001, 1),
)
def test_overlap_never_beats_computing_nor_any_exchange(
    system: str, model: str, profile_: str, division: dict, switch: dict, share: float
) -> None:
    """A pass takes at least what it computes, and at least what each kind of exchange takes."""
    plain = job(system, model, profile_)
    slower = plain.system
    for tier in range(len(slower.tiers)):
        slower = faster(slower, f"tier {tier}", share)
    plain = replace(plain, system=slower)
    chosen = Strategies.of([strategy(division, switch, "1f1b")])
    profiled, _ = profile(plain, chosen)
    held = stages(plain.model, chosen.pp, chosen.vp, chosen.copies)
    micro_batches = plain.global_batch / (chosen.dp * chosen.micro_batch)
    data = data_parallel(plain, chosen, held, profiled, micro_batches)
    present = held.many > 0
    for way in (0, 1):
        one = one_pass(way, plain, chosen, held, profiled, data, plain.lost)
        total = one.total_s[present]
        exchanged = {
            "tp": one.tensor_s, "cp": one.context_s, "ep": one.expert_s, "dp": one.waited_s
        }  # fmt: skip
        assert (total >= one.busy_s[present]).all()
        for lane, shown in exchanged.items():
            whole = shown + one.hidden_s.get(lane, np.zeros_like(shown))
            assert (total >= whole[present] * (1 - 1e-9)).all()
            assert (shown[present] >= 0).all()


@pytest.mark.parametrize("model", MODELS)
def test_parts_sum_to_the_step_whatever_is_switched_on(model: str) -> None:
    chosen = Strategies.of(
        [Strategy(pp=4, dp=4, schedule=s, offload=o, zero=1)
         for s in ("1f1b", "gpipe", "zb_h1", "dualpipe") for o in ("none", "all")]  # type: ignore[arg-type]
    )  # fmt: skip
    found = evaluate(job(SYSTEMS[0], model, "megatron-core"), chosen)
    assert np.allclose(np.sum(list(found.time_parts_s.values()), axis=0), found.step_time_s)
    assert all((part >= 0).all() for part in found.time_parts_s.values())


def test_no_constant_is_named_after_a_model_or_a_source() -> None:
    """Keys of the calibration name classes of devices, software, formats and quantities alone.

    How many samples a model needs until it is good is a fact of the model, and stands apart.
    """
    keys: set[str] = set()

    def walk(node: object) -> None:
        """Collect keys; how well a fit does by source is no constant."""
        if isinstance(node, dict):
            for key, value in node.items():
                if not (isinstance(value, dict) and "in_sample" in value):
                    keys.add(str(key).lower())
                    walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    for path in sorted((data_folder("hardware_specs") / "calibration").glob("*.yaml")):
        if path.name != "quality.yaml":
            walk(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert len(keys) > 100
    named = {name.lower() for name in model_names()}
    path = data_folder("hardware_specs") / "runs" / "training_runs.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        sources = {row["source_id"].lower() for row in csv.DictReader(handle)}
    assert not keys & named
    assert len(sources) > 5
    assert not keys & sources
