"""Objectives: what is chosen is what planning everything apart finds best, within stated limits."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import costsim
from costsim.errors import OverBudgetError, SpecError
from costsim.planning.figures import Figure
from costsim.planning.objectives import ALIKE_RATIO, OBJECTIVES, Goal, goal_of

TRAINING: dict[str, Any] = {
    "name": "t",
    "model": "gpt2-xl",
    "workload": {"kind": "training", "tokens": "2 B", "sequence": 1024, "global_batch": 96},
    "hardware": {"system": ["dgx-h100", "dgx-a100-80"], "devices": [8, 16, 32]},
    "price": "2 $/h",
}
SERVICE: dict[str, Any] = {
    "name": "s",
    "model": "llama-3.1-8b",
    "workload": {
        "kind": "inference",
        "requests_per_s": 4,
        "input_tokens": 500,
        "output_tokens": 100,
        "engine": "vllm",
    },
    "hardware": {"system": ["nvidia-h100-sxm5-80gb", "nvidia-l4"], "replica_devices": [1, 2]},
}


def planned(scenario: dict[str, Any], **changes: Any) -> costsim.Plan[Any, Any]:
    return costsim.plan({**copy.deepcopy(scenario), **changes})


@pytest.mark.parametrize("name", ["cost", "time", "energy", "carbon", "devices", "cost_p90"])
def test_the_best_is_the_best_of_all_planned_apart(name: str) -> None:
    hardware = TRAINING["hardware"]
    apart = [
        planned(TRAINING, hardware={"system": system, "devices": devices}).best
        for system, devices in product(hardware["system"], hardware["devices"])
    ]
    best = planned(TRAINING, objective=name).best
    assert OBJECTIVES[name].of(best) == min(OBJECTIVES[name].of(one) for one in apart)


def test_least_memory_is_of_the_least_within_sight() -> None:
    fastest = planned(TRAINING, objective="time").best
    least = planned(TRAINING, objective="memory").best
    assert least.value("memory_bytes_per_device") < fastest.value("memory_bytes_per_device")


@pytest.mark.parametrize("name", ["energy", "tpot"])
def test_services_are_chosen_by_objective(name: str) -> None:
    plan, usual = planned(SERVICE, objective=name), planned(SERVICE)
    assert OBJECTIVES[name].of(plan.best) <= OBJECTIVES[name].of(usual.best)
    assert plan.best.value("cost_usd") >= usual.best.value("cost_usd")
    assert any(OBJECTIVES[name].says in note for note in plan.notes)


def test_limits_come_before_objectives() -> None:
    cheap, fast = (planned(TRAINING, objective=name).best for name in ("cost", "time"))
    assert cheap.value("days") > fast.value("days")
    limit = f"{(cheap.value('days') + fast.value('days')) / 2} days"
    chosen = planned(TRAINING, objective="cost", limits={"deadline": limit})
    chosen.check_limits()
    assert cheap.value("cost_usd") < chosen.best.value("cost_usd") <= fast.value("cost_usd")
    budget = {"cost": f"{cheap.value('cost_usd') * 1.0001} $"}
    assert planned(TRAINING, objective="time", limits=budget).best.label == cheap.label


def test_a_deadline_may_be_asked_to_be_kept_surely() -> None:
    one = dict(TRAINING["hardware"], devices=32, system="dgx-h100")
    plan = planned(TRAINING, hardware=one)
    days = plan.best.figures["days"]
    limit = f"{(days.value + days.quantile(0.9)) / 2} days"
    planned(TRAINING, hardware=one, limits={"deadline": limit}).check_limits()
    surely = {"deadline": limit, "probability": "90 %"}
    with pytest.raises(OverBudgetError, match="with a probability of 90%"):
        planned(TRAINING, hardware=one, limits=surely).check_limits()


@given(st.floats(1e-3, 1e9), st.floats(1.01, 5), st.floats(1.01, 5), st.floats(0.5, 0.99))
def test_quantiles_invert_probabilities(
    value: float, below: float, above: float, probability: float
) -> None:
    figure = Figure(value, "s", value / below, value * above)
    assert figure.probability_at_most(figure.quantile(probability)) == pytest.approx(probability)
    assert figure.quantile(0.9) == pytest.approx(figure.high)


class Way:
    """A candidate with figures of its own."""

    def __init__(self, label: str, cost: float, days: float, carbon: float) -> None:
        self.label, self.devices = label, 1
        names = {"cost_usd": cost, "days": days, "co2e_t": carbon}
        self.figures = {name: Figure(value, "") for name, value in names.items()}


some_ways = st.lists(
    st.tuples(*[st.sampled_from([1.0, 1.005, 1.5, 2.0, 3.0, 4.5])] * 3), min_size=1, max_size=12
)


def ways_of(rows: list[tuple[float, float, float]]) -> list[Any]:
    return [Way(str(index), *row) for index, row in enumerate(rows)]


@given(some_ways, st.floats(0.1, 5), st.floats(0.1, 5), st.floats(0.01, 100))
def test_weights_do_not_depend_on_units(
    rows: list[tuple[float, float, float]], first: float, second: float, unit: float
) -> None:
    goal = Goal(("cost", "time"), (first, second))
    best = goal.ranked(ways_of(rows))[0]
    scaled = [(cost * unit, days, carbon) for cost, days, carbon in rows]
    again = goal.ranked(ways_of(scaled))[0]
    scores = [cost**first * days**second for cost, days, _ in rows]
    assert scores[best] == pytest.approx(min(scores))
    assert scores[again] == pytest.approx(min(scores))


@given(some_ways)
def test_a_further_objective_decides_between_equals(rows: list[tuple[float, float, float]]) -> None:
    order = Goal(("cost", "time", "carbon")).ranked(ways_of(rows))
    assert sorted(order) == list(range(len(rows)))
    alike = [row for row in rows if row[0] <= min(r[0] for r in rows) * (1 + ALIKE_RATIO)]
    alike = [row for row in alike if row[1] <= min(r[1] for r in alike) * (1 + ALIKE_RATIO)]
    best = rows[order[0]]
    assert best in alike
    assert best[2] <= min(row[2] for row in alike) * (1 + ALIKE_RATIO)


@given(some_ways)
def test_a_front_beats_all_else_and_nothing_beats_it(
    rows: list[tuple[float, float, float]],
) -> None:
    front = [rows[index] for index in Goal(("cost", "time", "carbon")).front(ways_of(rows))]

    def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return one != other and all(a <= b for a, b in zip(one, other, strict=True))

    assert not any(beats(one, other) for one in rows for other in front)
    assert all(row in front or any(beats(one, row) for one in front) for row in rows)


def test_the_front_is_in_the_plan() -> None:
    plan = planned(TRAINING, objective=["cost", "time"])
    labels = {one.label for one in plan.candidates}
    assert plan.front
    assert set(plan.front) <= labels
    assert plan.to_dict()["front"] == list(plan.front)


def test_unknown_objectives_are_refused_at_their_place(tmp_path: Any) -> None:
    file = tmp_path / "s.yaml"
    text = "name: t\nmodel: gpt2\nworkload: {kind: training, tokens: 1 B, sequence: 512,"
    text += " global_batch: 64}\nhardware: {system: dgx-h100, devices: 8}\nobjective: tme\n"
    file.write_text(text)
    with pytest.raises(SpecError, match="`tme` is no objective") as caught:
        costsim.plan(file)
    (problem,) = caught.value.problems
    assert problem.location is not None
    assert (problem.location.line, problem.hint) == (5, "did you mean `time` or `time_p90`?")
    with pytest.raises(SpecError, match="`tpot` is no objective of a workload of kind `training`"):
        goal_of(["cost", "tpot"], "training")
