"""A comparison is its separate plans, in order of cost."""

from __future__ import annotations

from typing import Any

from costsim.decisions import compare
from costsim.planning import plan

SCENARIO: dict[str, Any] = {
    "name": "GPT-2 XL",
    "model": "gpt2-xl",
    "workload": {
        "kind": "training",
        "tokens": "40 B tokens",
        "sequence": 1024,
        "global_batch": 512,
    },
    "hardware": {"system": "nvidia-a100-sxm4-80gb", "devices": 16},
}
SYSTEMS = ("nvidia-a100-sxm4-80gb", "nvidia-h100-sxm5-80gb")


def test_a_comparison_is_the_separate_plans() -> None:
    found = compare(SCENARIO, SYSTEMS)
    alone = {
        name: plan({**SCENARIO, "hardware": {"system": name, "devices": 16}}) for name in SYSTEMS
    }
    assert {one.name: one.plan.budget.usd for one in found if one.plan} == {
        name: one.budget.usd for name, one in alone.items()
    }
    assert found[0].name == min(alone, key=lambda name: alone[name].budget.usd)
    assert found[0].reason == ""
    assert found[1].reason.startswith("costs +")


def test_providers_keep_the_region_that_is_stated() -> None:
    priced = {**SCENARIO, "price": {"region": "us-central1"}}
    (found,) = compare(priced, providers=["gcp"])
    assert found.plan is not None
    assert (found.plan.price.price.provider, found.plan.price.price.region) == (
        "gcp",
        "us-central1",
    )


def test_a_budget_that_all_exceed_is_said() -> None:
    found = compare({**SCENARIO, "limits": {"cost": "1 $"}}, SYSTEMS)
    assert all(one.over and "over $1" in one.reason for one in found)


def test_what_fits_nowhere_comes_last_with_the_reason() -> None:
    small = {**SCENARIO, "model": "gpt3-175b", "hardware": {"system": "x", "devices": 16}}
    found = compare(small, ("nvidia-l4", "nvidia-b200-sxm-180gb"))
    assert found[-1].plan is None
    assert "fit" in found[-1].reason
