"""Backwards answers are those of plans: gone through one by one, and to the cent and the step."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest

from costsim.cli import main
from costsim.decisions.solve import largest, solve
from costsim.errors import InfeasiblePlanError, OverBudgetError, SpecError
from costsim.planning import plan
from costsim.scaling.shapes import shape_of_width, widths

SCENARIO: dict[str, Any] = {
    "name": "GPT-2 XL",
    "model": "gpt2-xl",
    "workload": {
        "kind": "training",
        "tokens": "40 B tokens",
        "sequence": 1024,
        "global_batch": 512,
    },
    "hardware": {"system": "nvidia-a100-sxm4-80gb", "devices": 16, "at_most": 128},
    "strategy": {"micro_batch": [1, 4], "pp": 1, "cp": 1, "tp": 1},
    "price": "2.5 $/h",
}
COUNTS = (1, 2, 4, 8, 16, 24, 32, 40, 56, 64, 80, 96, 112, 128)
A_STEP = 1024 * 512


def _plans(settings: tuple[str, ...] = ()) -> dict[int, tuple[float, float]]:
    """Return cost and days of a plan at every number of devices, by itself."""
    found: dict[int, tuple[float, float]] = {}
    for count in COUNTS:
        try:
            best = plan(SCENARIO, (*settings, f"hardware.devices={count}")).best
        except InfeasiblePlanError:
            continue
        found[count] = best.value("cost_usd"), best.value("days")
    return found


@pytest.fixture(scope="module")
def each() -> dict[int, tuple[float, float]]:
    return _plans()


def test_the_largest_is_that_of_a_scan() -> None:
    seeded = random.Random(0)
    for _ in range(2000):
        most, guess = seeded.randrange(0, 300), seeded.randrange(0, 400)
        assert largest(lambda n, most=most: n <= most, guess) == most


def test_the_fewest_devices_are_those_of_separate_plans(
    each: dict[int, tuple[float, float]],
) -> None:
    for days in (2.0, 3.3, 8.0, 30.0):
        kept = [count for count, (_, took) in each.items() if took <= days]
        found = solve(SCENARIO, "devices", [f"limits.deadline={days} days"])
        assert found.value == min(kept)
        assert found.plan.best.devices == min(kept)


def test_budget_and_deadline_are_those_of_separate_plans(
    each: dict[int, tuple[float, float]],
) -> None:
    least = min(cost for cost, days in each.values() if days <= 3.3)
    budget = solve(SCENARIO, "budget", ["limits.deadline=3.3 days"])
    assert budget.plan.budget.usd == least
    soonest = min(days for cost, days in each.values() if cost <= least * 1.02)
    deadline = solve(SCENARIO, "deadline", [f"limits.cost={least * 1.02} $"])
    assert deadline.value == soonest


def test_a_budget_is_enough_and_a_cent_less_is_not() -> None:
    found = solve(SCENARIO, "budget", ["limits.deadline=3.3 days"])
    plan(SCENARIO, (*found.settings, f"limits.cost={found.value} $")).check_limits()
    with pytest.raises(OverBudgetError):
        plan(SCENARIO, (*found.settings, f"limits.cost={found.value - 0.01} $")).check_limits()


@pytest.mark.parametrize("limit", ["limits.cost=3000.01 $", "limits.deadline=71 h"])
def test_tokens_are_bought_to_the_step(limit: str) -> None:
    found = solve(SCENARIO, "tokens", [limit])
    plan(SCENARIO, (limit, *found.settings)).check_limits()
    more = int(found.value) + A_STEP
    with pytest.raises(OverBudgetError):
        plan(SCENARIO, (limit, *found.settings, f"workload.tokens={more}")).check_limits()


def test_tokens_that_are_bought_cost_their_budget_back() -> None:
    cost = plan(SCENARIO).budget.usd
    found = solve(SCENARIO, "tokens", [f"limits.cost={cost!r} $"])
    steps = -(-40e9 // A_STEP)
    assert found.value >= steps * A_STEP  # money is told in whole dollars: some more cost the same
    assert found.plan.budget.usd == cost


def test_limits_that_exclude_each_other_are_named_with_what_comes_nearest(
    capsys: pytest.CaptureFixture[str], each: dict[int, tuple[float, float]]
) -> None:
    cheapest = min(each.values())
    limits = [f"limits.cost={cheapest[0] * 1.001} $", "limits.deadline=1.1 days"]
    with pytest.raises(InfeasiblePlanError, match="exclude each other") as caught:
        solve(SCENARIO, "devices", limits)
    assert "a budget of" in str(caught.value)
    assert "a deadline of" in str(caught.value)
    with pytest.raises(InfeasiblePlanError, match="takes at least"):
        solve(SCENARIO, "budget", ["limits.deadline=1 min"])
    with pytest.raises(InfeasiblePlanError, match="costs at least"):
        solve(SCENARIO, "deadline", ["limits.cost=1 $"])
    assert main(["solve", "gpt3", "--for", "tokens", "--set", "limits.cost=0.001 $"]) == 3
    assert "one step costs at least" in capsys.readouterr().err


def test_the_size_is_the_best_of_all_that_are_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("costsim.decisions.sizes.widths", lambda: LADDER)
    found = solve(SCENARIO, "parameters", ["limits.cost=3000 $"], law="chinchilla")
    best: list[tuple[float, int]] = []
    from costsim.scaling import scaling_law

    for width in LADDER:
        shape = shape_of_width(width, 50257, gated=False, grouped=False)
        names = ("layers", "hidden", "heads", "kv_heads", "feed_forward", "vocabulary")
        sizes = json.dumps(
            {name: getattr(shape, name) for name in names}
            | {"dropout": True, "max_positions": 1024}
        )
        bought = solve(SCENARIO, "tokens", [f"model={sizes}", "limits.cost=3000 $"])
        parameters = bought.plan.best.option.model.parameters
        best.append((scaling_law("chinchilla").loss(parameters, bought.value), parameters))
    assert found.value == pytest.approx(min(best)[1], rel=0.01)


LADDER = (512, 1024, 1536, 2048, 2560)


def test_the_cheapest_way_to_a_loss_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from costsim.scaling import scaling_law

    monkeypatch.setattr("costsim.decisions.sizes.widths", lambda: LADDER)
    found = solve(SCENARIO, "budget", loss=2.75)
    best = found.plan.best
    steps = best.run.steps
    law = scaling_law()
    assert law.loss(best.option.model.parameters, steps * A_STEP) <= 2.75
    assert law.loss(best.option.model.parameters, (steps - 1) * A_STEP) > 2.75
    assert best.value("cost_usd") <= found.value < best.value("cost_usd") + 0.01
    served = solve(SCENARIO, "budget", loss=2.75, served_tokens=5e12)
    assert served.plan.best.option.model.parameters <= best.option.model.parameters


def test_shapes_divide() -> None:
    for width in widths():
        shape = shape_of_width(width, 50257, gated=True, grouped=True)
        parts = math.gcd(shape.heads, 8)
        assert parts >= 4
        assert shape.heads * 128 == shape.hidden
        assert shape.vocabulary % (128 * parts) == 0
        assert shape.vocabulary - 50257 < 128 * parts
        assert shape.feed_forward % (128 * parts) == 0
        assert shape.kv_heads % parts == 0
        assert shape.heads % shape.kv_heads == 0
    llama = shape_of_width(16384, 128256, gated=True, grouped=True)
    assert (llama.layers, llama.heads, llama.kv_heads) == (128, 128, 8)  # 126 in Llama 3.1 405B


@pytest.mark.parametrize(
    ("unknown", "more", "said"),
    [
        ("token", {}, "cannot solve"),
        ("tokens", {}, "nothing limits"),
        ("devices", {"law": "chinchilla"}, "say nothing of"),
        ("tokens", {"loss": 2.5}, "says nothing of"),
        ("budget", {"loss": 1.0}, "not above"),
    ],
)
def test_questions_without_meaning_are_refused(
    unknown: str, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        solve(SCENARIO, unknown, **more)
