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
