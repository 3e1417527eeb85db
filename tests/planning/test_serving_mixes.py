"""Mixed fleets: the cheapest counts against trying all of them, and plans that need a mix."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costsim.errors import InfeasiblePlanError, SpecError
from costsim.inference.deployment import simulate, simulate_mixed
from costsim.inference.traffic import random_traffic
from costsim.planning import plan
from costsim.planning.workloads.serving.mix import Kind, cheapest_counts, most_carried
from costsim.reporting import render
from costsim.reporting.plans import plan_report
from inference.serving_setup import deployment

TWO: dict[str, Any] = {
    "name": "A service on what there is",
    "model": "llama3-8b",
    "workload": {
        "kind": "inference",
        "requests_per_s": 90.0,
        "input_tokens": 800,
        "output_tokens": 150,
        "mean_ratio": 0.6,
        "slo": {"ttft": "1 s", "tpot": "40 ms"},
    },
    "hardware": {
        "system": ["h100", "a100-sxm4-80gb"],
        "replica_devices": 1,
        "spare": 1,
    },
    "price": "2 $/h",
}
ALONE = plan(TWO)


def limited(**available: int) -> dict[str, Any]:
    """Return the service with so many devices."""
    named = {name.replace("_", "-"): count for name, count in available.items()}
    return {**TWO, "hardware": {**TWO["hardware"], "available": named}}


kinds_drawn = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([1, 2, 4]), st.floats(2.0, 20.0)),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60, deadline=None)
@given(
    kinds_drawn,
    st.floats(1.0, 30.0),
    st.integers(0, 1),
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 9)),
    st.none() | st.integers(1, 12),
)
def test_counts_are_the_cheapest_of_all_counts(
    drawn: list[tuple[str, int, float]],
    rate: float,
    spare: int,
    available: dict[str, int],
    bound: int | None,
) -> None:
    prices = {"a": 1.0, "b": 1.7, "c": 2.3}  # dollars a device and hour
    kinds = [Kind(s, s, n, each, n * prices[s]) for s, n, each in drawn]
    rates = np.array([rate, rate / 3])
    caps = None if bound is None else np.full(len(kinds), bound)
    found = cheapest_counts(kinds, rates, spare, available, caps)
    least = np.full(2, np.inf)
    # One more than carry all alone, and as much again as the largest replica that fails.
    full = rate + spare * max(kind.rate_per_s for kind in kinds)
    most = [min(int(full // kind.rate_per_s) + 1, bound or 99) for kind in kinds]
    for counts in product(*(range(n + 1) for n in most)):
        used = dict.fromkeys("abc", 0)
        for n, kind in zip(counts, kinds, strict=True):
            used[kind.system] += n * kind.devices
        if any(used[name] > limit for name, limit in available.items()):
            continue
        largest = max((k.rate_per_s for k, n in zip(kinds, counts, strict=True) if n), default=0)
        carried = sum(n * k.rate_per_s for n, k in zip(counts, kinds, strict=True))
        cost = sum(n * k.usd_per_hour for n, k in zip(counts, kinds, strict=True))
        enough = carried - spare * largest >= rates * (1 - 1e-12)
        least = np.where(enough, np.minimum(least, cost), least)
    if found is None:
        assert np.isinf(least).any()
        if bound is None:
            assert most_carried(kinds, spare, available) < rate
    else:
        paid = found @ np.array([kind.usd_per_hour for kind in kinds])
        assert paid == pytest.approx(least)


def test_equal_replicas_mixed_are_the_same_fleet() -> None:
    one = deployment()
    traffic = random_traffic(40.0, 2000, 800, 150, seed=5)
    mixed = simulate_mixed([(one, 2, 7.0), (one, 1, 7.0)], traffic)
    assert mixed.to_dict() == simulate(one, 3, traffic).to_dict()


def test_a_fleet_gets_requests_in_proportion_to_its_rates() -> None:
    fast, slow = deployment(), deployment(device="a100-sxm4-80gb")
    traffic = random_traffic(60.0, 3000, 800, 150, seed=5)
    found = simulate_mixed([(fast, 2, 20.0), (slow, 2, 10.0)], traffic)
    assert found.completed == 3000
    assert found.output_tokens == int(traffic.output_tokens.sum())
    assert found.ttft.p99_s <= simulate(slow, 4, traffic).ttft.p99_s
    with pytest.raises(SpecError, match="at least one replica"):
        simulate_mixed([], traffic)


def test_where_no_device_suffices_alone_a_mix_is_the_answer() -> None:
    need = {one.run.replica.system.accelerator.id: one.devices for one in ALONE.candidates}
    h100, a100 = need["nvidia-h100-sxm5-80gb"], need["nvidia-a100-sxm4-80gb"]
    found = plan(limited(h100=h100 - 2, a100_sxm4_80gb=a100 - 1))
    mix = found.details.mix
    assert mix is not None
    assert len({kind.system for kind in mix.kinds}) == 2
    for hour in (*mix.day, mix.replicas):
        for n, kind in zip(hour, mix.kinds, strict=True):
            assert n <= (h100 - 2 if "h100" in kind.system else a100 - 1)
    assert mix.measured.attainment_ratio >= 0.99
    assert found.to_dict()["mix"]["devices"] == mix.devices
    text = render(plan_report(found), "markdown")
    assert "A mixed fleet serves it" in text


def test_enough_of_all_devices_is_the_plan_without_limits() -> None:
    found = plan(limited(h100=1000, a100_sxm4_80gb=1000))
    assert found.best.value("usd_per_hour") == ALONE.best.value("usd_per_hour")
    if found.details.mix is not None:
        assert found.details.mix.usd_per_hour < found.best.value("usd_per_hour")


def test_too_few_of_everything_says_what_comes_nearest() -> None:
    with pytest.raises(InfeasiblePlanError, match="too few devices are available") as caught:
        plan(limited(h100=2, a100_sxm4_80gb=1))
    assert caught.value.exit_code == 3
    hint = caught.value.problems[0].hint
    assert hint is not None
    assert "nearest: all together carry" in hint


def test_available_devices_are_those_of_a_listed_system() -> None:
    with pytest.raises(SpecError, match="which `system` does not"):
        plan(limited(h200=4))
