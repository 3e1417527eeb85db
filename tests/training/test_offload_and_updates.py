"""Offload and optimizers in the evaluator: what they save, and that they are never free."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import costsim
from costsim.errors import SpecError
from costsim.training.evaluate import Evaluation, evaluate
from costsim.training.job import Job
from costsim.training.offload import HOST_LINK_RATIO, OFFLOADS, host_rate_bytes_per_s
from costsim.training.precision import precision
from costsim.training.software import software
from costsim.training.strategy import Strategies, Strategy
from costsim.training.timeline import timeline

MODEL = costsim.load_model("llama-2-7b")


def job(system: str = "nvidia-h100-sxm5-80gb", optimizer: str = "adam") -> Job:
    machine = costsim.load_hardware(system, count=8)
    software_ = software("megatron-core")
    made = Job(MODEL, machine, 32, 4096, precision("bf16"), optimizer, software_)
    return replace(made, nvme_bytes_per_s=25e9)


def evaluated(which: Job, **axes: object) -> Evaluation:
    strategies = [Strategy(**{"dp": 8, "zero": 1, **axes, "offload": o}) for o in OFFLOADS]  # type: ignore[arg-type]
    return evaluate(which, Strategies.of(strategies))


def test_offload_moves_memory_to_the_host() -> None:
    found = evaluated(job())
    drives = sum(found.memory.drive_parts.values()).max(axis=1)
    total = found.memory_bytes + found.memory.host_bytes.max(axis=1) + drives
    assert np.allclose(total, total[0], rtol=0.02)
    none, optimizer, activations, everything = found.memory_bytes[:4]
    assert everything < min(optimizer, activations) <= max(optimizer, activations) < none
    states = 12 * MODEL.parameters / 8  # fp32 weights and two moments, divided by ZeRO
    assert found.memory.host_bytes.max(axis=1)[1] == pytest.approx(states, rel=0.01)


def test_offload_is_never_free_and_costs_what_the_link_says() -> None:
    found = evaluated(job())
    none, optimizer, activations, everything = found.step_time_s[:4]
    assert none < optimizer < everything
    assert none < activations < everything
    # States once each way, minus the passes of the update that hide behind them.
    rate = host_rate_bytes_per_s(job().system)
    moved_s = 12 * MODEL.parameters / 8 / rate
    assert found.time_parts_s["offload"][1] == pytest.approx(
        moved_s - found.time_parts_s["optimizer"][1], rel=0.01
    )


def test_drives_take_the_place_of_the_host_at_their_own_rate() -> None:
    found = evaluated(job())
    states, drives = OFFLOADS.index("states"), OFFLOADS.index("nvme")
    assert found.memory_bytes[drives] == found.memory_bytes[states]
    assert found.memory.host_bytes[drives].max() == 0
    held = {name: part[states].max() for name, part in found.memory.host_parts.items()}
    # States and gradients both ways, weights three times, for eight devices of a node.
    moved = 2 * (held["optimizer"] + held["gradients"]) + 3 * held["parameters"]
    more = found.time_parts_s["offload"][drives] - found.time_parts_s["offload"][states]
    assert more == pytest.approx(8 * moved / 25e9)
    with pytest.raises(SpecError, match="bandwidth of the NVMe drives"):
        evaluated(replace(job(), nvme_bytes_per_s=None))


def test_a_coherent_link_costs_less() -> None:
    pcie = job("nvidia-h100-sxm5-80gb")
    coherent = job("nvidia-gh200-96gb")
    assert host_rate_bytes_per_s(coherent.system) == HOST_LINK_RATIO * 450e9
    slow, fast = evaluated(pcie), evaluated(coherent)
    assert fast.time_parts_s["offload"][3] < slow.time_parts_s["offload"][3] / 4


def test_a_link_that_is_not_known_is_an_error() -> None:
    with pytest.raises(SpecError, match="not known"):
        evaluated(job("google-tpu-v5p"))


def test_timeline_shows_the_host_link() -> None:
    strategy = Strategy(pp=2, dp=4, zero=1, offload="all")
    found = timeline(job(), strategy)
    assert "host" in {one.lane for one in found.slices}
    assert max(one.end_s for one in found.slices) == pytest.approx(found.step_time_s)


def test_states_of_optimizers() -> None:
    strategies = Strategies.of([Strategy(dp=8, zero=1)])
    held = {
        name: float(evaluate(job(optimizer=name), strategies).memory.parts["optimizer"].max())
        for name in ("adam", "adam_8bit", "adafactor", "sgd", "muon")
    }
    parameters = MODEL.parameters / 8
    assert held["adam"] == pytest.approx(12 * parameters, rel=0.01)
    assert held["adam_8bit"] == pytest.approx(6 * parameters, rel=0.01)
    assert held["adafactor"] == held["sgd"] == pytest.approx(4 * parameters, rel=0.01)
    outer = 2 * 32000 * 4096 / 8
    assert held["muon"] == pytest.approx(8 * parameters + 4 * outer, rel=0.01)


def test_muon_takes_products_and_zero_deals_them_out() -> None:
    strategies = Strategies.of([Strategy(dp=8), Strategy(dp=8, zero=1)])
    adam = evaluate(job(), strategies).time_parts_s["optimizer"]
    muon = evaluate(job(optimizer="muon"), strategies).time_parts_s["optimizer"]
    assert muon[0] > adam[0]
    assert muon[1] < muon[0] / 7
    # Jordan et al. 2024: T·m/B of the FLOPs of a step: 5 iterations, width, tokens.
    share = 5 * 4096 / (32 * 4096)
    step_s = evaluate(job(), strategies).step_time_s[1]
    assert 0.3 * share < muon[1] / step_s < 1.5 * share


def test_fewer_bytes_of_states_update_sooner() -> None:
    strategies = Strategies.of([Strategy(dp=8)])

    def update_s(name: str) -> float:
        found = evaluate(replace(job(), optimizer=name), strategies)
        return float(found.time_parts_s["optimizer"][0])

    assert update_s("sgd") < update_s("adam_8bit") < update_s("adam")


def test_parameters_on_the_host_come_once_a_pass() -> None:
    which = job()
    strategies = [Strategy(dp=8, zero=3, offload=o) for o in ("none", "parameters")]
    found = evaluate(which, Strategies.of(strategies))
    assert found.memory.parts["weights"].max(axis=1)[1] == 0
    here = found.memory.host_parts["parameters"].max(axis=1)[1]
    assert here == pytest.approx(2 * MODEL.parameters / 8, rel=1e-6)
    rate = host_rate_bytes_per_s(which.system)
    micro_batches = 32 / 8
    assert found.time_parts_s["offload"][1] <= 2 * micro_batches * here / rate * 1.001
    assert found.step_time_s[1] >= found.step_time_s[0]
