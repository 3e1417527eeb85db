"""Scenarios that fine-tune: adapters, frozen weights in 4 bits, documents padded or packed."""

from __future__ import annotations

from typing import Any

import pytest

import costsim
from costsim.errors import InfeasiblePlanError, SpecError
from costsim.planning.plans import Plan

BASE: dict[str, Any] = {
    "name": "Fine-tuning Llama 2 7B",
    "model": "llama-2-7b",
    "workload": {
        "kind": "training",
        "tokens": "100 M tokens",
        "sequence": 2048,
        "global_batch": 64,
    },
    "hardware": {"system": "nvidia-h100-sxm5-80gb", "devices": 8},
    "strategy": {"tp": 1, "pp": 1, "micro_batch": 1, "zero": 0, "recompute": "none"},
    "price": "2 $/h",
}


def planned(**workload: object) -> Plan:
    strategy = BASE["strategy"] | ({} if "adapter" in workload else {"zero": 3})
    changed = {"workload": BASE["workload"] | workload, "strategy": strategy}
    return costsim.plan(BASE | changed)


def parts(plan: Plan) -> dict[str, float]:
    return plan.best.run.memory_parts_bytes[0][1]


def test_adapters_hold_frozen_weights_and_few_states() -> None:
    whole, lora = planned(), planned(adapter={"rank": 16})
    assert parts(lora)["weights"] == pytest.approx(2 * 6.738e9 + 2 * 8.4e6, rel=0.002)
    # 32 layers, queries and values: 2 · 16 · (4096 + 4096) parameters each (Hu et al. 2021).
    parameters = 32 * 2 * 16 * 2 * 4096
    assert parts(lora)["optimizer"] == pytest.approx(12 * parameters)
    assert parts(lora)["gradients"] == pytest.approx(4 * parameters)
    # A third of the products, those of gradients of weights, is spared.
    assert 0.55 < lora.best.value("step_time_s") / whole.best.value("step_time_s") < 0.85


def test_more_adapters_take_longer_and_hold_more() -> None:
    few = planned(adapter={"rank": 8})
    every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    many = planned(adapter={"rank": 64, "targets": every})
    assert many.best.value("step_time_s") > few.best.value("step_time_s")
    assert parts(many)["optimizer"] > 10 * parts(few)["optimizer"]


def test_four_bit_weights_take_a_quarter() -> None:
    lora, qlora = planned(adapter={}), planned(adapter={"weights": "nf4"})
    layers, rest = 6.476e9, 2 * 32000 * 4096
    assert parts(lora)["weights"] == pytest.approx(2 * (layers + rest), rel=0.01)
    assert parts(qlora)["weights"] < 0.35 * parts(lora)["weights"]
    assert qlora.best.value("step_time_s") >= 0.98 * lora.best.value("step_time_s")


def test_adapters_divide_as_the_model_does() -> None:
    lora = costsim.plan(
        BASE | {"workload": BASE["workload"] | {"adapter": {}}, "strategy": {"tp": 4, "pp": 2}}
    )
    assert parts(lora)["weights"] == pytest.approx(2 * 6.738e9 / 8, rel=0.03)
    experts = costsim.plan(
        BASE
        | {
            "model": "mixtral-8x7b",
            "workload": BASE["workload"] | {"adapter": {}},
            "strategy": {"ep": 8},
        }
    )
    assert experts.best.run.strategy.ep == 8


def test_padding_takes_steps_that_packing_spares() -> None:
    packed, padded = planned(), planned(padded_document=512)
    assert padded.best.run.steps == pytest.approx(4 * packed.best.run.steps, abs=4)
    assert padded.best.value("step_time_s") == packed.best.value("step_time_s")
    assert padded.best.value("tokens_per_s") == pytest.approx(packed.best.value("tokens_per_s") / 4)


def test_states_in_the_host_are_checkpointed_all_the_same() -> None:
    strategy = {"tp": 1, "pp": 1, "micro_batch": 1, "zero": 1, "recompute": "none"}
    plain, paged = (
        costsim.plan(BASE | {"strategy": strategy | {"offload": offload}})
        for offload in ("none", "optimizer")
    )
    assert parts(paged)["optimizer"] == 0 < parts(plain)["optimizer"]
    kept = [found.best.run.goodput.checkpoint_interval_s for found in (plain, paged)]
    assert kept[0] == kept[1]
    assert paged.best.value("step_time_s") > plain.best.value("step_time_s")


def test_a_host_that_is_full_is_no_plan() -> None:
    # A device's share is 256 GB; 12 bytes of states a parameter take 105, activations the rest.
    axes = {"tp": 8, "pp": 1, "sp": True, "recompute": "none", "offload": "all"}
    workload = BASE["workload"] | {"sequence": 4096}

    def planned_by(micro_batch: int) -> Plan:
        strategy = axes | {"micro_batch": micro_batch}
        changed = {"model": "llama-3.1-70b", "strategy": strategy, "workload": workload}
        return costsim.plan(BASE | changed)

    assert planned_by(4).best.run.strategy.offload == "all"
    with pytest.raises(InfeasiblePlanError, match="host's memory"):
        planned_by(16)


def test_unknown_target_is_an_error_at_its_place() -> None:
    with pytest.raises(SpecError) as error:
        planned(adapter={"targets": ["z_proj"]})
    assert "z_proj" in error.value.problems[0].message
