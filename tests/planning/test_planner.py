"""The planner: its best is the best of all, and what it says adds up."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import costsim
from costsim.cli import main
from costsim.errors import InfeasiblePlanError
from costsim.planning import Plan
from costsim.planning.strategies import pareto
from costsim.training import Strategy
from costsim.training.space import Choices, Limits, divisors, legal_strategies
from planning.scenarios import written


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return costsim.plan(written(tmp_path_factory.mktemp("plan")))


def test_best_is_the_fastest_of_every_strategy_estimated_alone(plan: Plan) -> None:
    """An exhaustive search by hand, through the public estimate of one strategy at a time."""
    model = costsim.load_model("gpt2-xl")
    system = costsim.load_hardware("nvidia-a100-sxm4-80gb", count=16)
    fastest: float | None = None
    for tp, dp, micro_batch, sp, zero, recompute in product(
        (1,), (16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 32), (False,), (0, 1, 2, 3), ("none", "full")
    ):
        pp = 16 // (tp * dp)
        if 512 % (dp * micro_batch):
            continue
        found = costsim.estimate_training(
            model,
            system,
            Strategy(
                tp=tp, pp=pp, dp=dp, micro_batch=micro_batch, sp=sp, zero=zero, recompute=recompute
            ),
            global_batch=512,
            sequence=1024,
        )
        if found.fits and (fastest is None or found.step_time_s < fastest):
            fastest = found.step_time_s
    assert fastest is not None
    assert plan.best.value("step_time_s") <= fastest * (1 + 1e-12)
    again = costsim.estimate_training(
        model, system, plan.best.run.strategy, global_batch=512, sequence=1024
    )
    assert again.fits
    assert again.step_time_s == pytest.approx(plan.best.value("step_time_s"), rel=1e-12)


def test_parts_sum_to_totals(plan: Plan) -> None:
    for candidate in plan.candidates:
        assert sum(candidate.run.time_parts_s.values()) == pytest.approx(
            candidate.value("step_time_s")
        )
        fullest = max(sum(parts.values()) for _, parts in candidate.run.memory_parts_bytes)
        assert fullest == pytest.approx(candidate.value("memory_bytes_per_device"))
        figures = [one for one in candidate.figures.values() if one.low is not None]
        assert len(figures) >= 10
        assert all(figure.low <= figure.value <= figure.high for figure in figures)
    counted = plan.details.search.searched
    assert counted == len(plan.details.search.order) + sum(plan.details.search.rejected.values())


def test_time_money_and_energy_follow_from_the_step(plan: Plan) -> None:
    best = plan.best
    steps = -(-40e9 // (512 * 1024))
    assert best.run.steps == steps
    assert best.run.useful_days == pytest.approx(best.value("step_time_s") * steps / 86_400)
    assert best.value("days") == pytest.approx(best.run.useful_days / best.run.goodput.ratio)
    assert best.value("device_hours") == pytest.approx(best.value("days") * 24 * 16)
    assert best.value("cost_usd") == pytest.approx(best.value("device_hours") * 2.5, rel=1e-3)
    assert plan.budget.to_dict()["total_usd"] == best.value("cost_usd")
    flops = 3 * costsim.load_model("gpt2-xl").forward_flops(1, 1024) * 512
    peak = 16 * 312e12
    assert best.value("mfu_ratio") == pytest.approx(flops / best.value("step_time_s") / peak)


def test_json_has_the_documented_keys_and_is_the_same_twice(plan: Plan, tmp_path: Path) -> None:
    text = plan.to_json()
    assert text == costsim.plan(written(tmp_path)).to_json()
    found = json.loads(text)
    assert {"schema_version", "scenario", "best", "candidates", "searched", "rejected"} <= set(
        found
    )
    wanted = (
        "strategy devices step_time_s days device_hours cost_usd energy_kwh co2e_t mfu_ratio "
        "hfu_ratio tokens_per_s memory_bytes_per_device low high"
    )
    assert set(wanted.split()) <= set(found["best"])
    assert {"tp", "pp", "vp", "dp", "cp", "ep", "micro_batch"} <= set(found["best"]["strategy"])


def test_price_scales_cost_and_nothing_else(plan: Plan, tmp_path: Path) -> None:
    dear = costsim.plan(written(tmp_path, ("2.5 $/h", "5 $/h")))
    assert dear.best.run.strategy == plan.best.run.strategy
    assert dear.best.value("cost_usd") == pytest.approx(2 * plan.best.value("cost_usd"), rel=1e-3)
    assert dear.best.value("energy_kwh") == plan.best.value("energy_kwh")


def test_reserved_memory_never_makes_more_strategies_fit(plan: Plan, tmp_path: Path) -> None:
    scenario = written(tmp_path, ("devices: 16", "devices: 16\n  memory_reserve: 50 %"))
    less = costsim.plan(scenario)
    assert set(less.details.search.order) <= set(plan.details.search.order)
    assert less.best.value("step_time_s") >= plan.best.value("step_time_s")


def test_a_plan_fits_surely_unless_none_does(tmp_path: Path) -> None:
    found = costsim.plan(written(tmp_path))
    usable = found.best.run.job.system.accelerator.memory_usable_bytes
    held = found.best.figures["memory_bytes_per_device"]
    assert held.high is not None
    assert held.high <= usable  # nine of ten measured peaks lie below
    none = costsim.plan(written(tmp_path, ("devices: 16", "devices: 16\n  memory_reserve: 0 %")))
    assert none.best.value("step_time_s") <= found.best.value("step_time_s")


def test_fewest_devices_meet_the_deadline_and_half_do_not(tmp_path: Path) -> None:
    limits = "limits:\n  deadline: 10 days\n"
    found = costsim.plan(written(tmp_path, ("devices: 16", "devices: fewest"), extra=limits))
    assert found.best.value("days") <= 10
    half = costsim.plan(written(tmp_path, ("devices: 16", f"devices: {found.best.devices // 2}")))
    assert half.best.value("days") > 10


def test_a_stated_limit_ends_with_4_after_the_plan_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, extra="limits:\n  cost: 100 $\n  deadline: 1 h\n")
    assert main(["plan", str(path)]) == 4
    printed = capsys.readouterr()
    assert "ANSWER" in printed.out
    assert "over $100" in printed.err
    assert "over the deadline" in printed.err


def test_what_does_not_fit_ends_with_3_and_names_the_nearest_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, ("gpt2-xl", "gpt3-175b"), ("1024", "2048"))
    assert main(["plan", str(path)]) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "needs" in printed.err
    assert "has 85.9 GB" in printed.err
    assert "of these devices hold it" in printed.err


def test_the_named_fix_holds(tmp_path: Path) -> None:
    path = written(tmp_path, ("gpt2-xl", "gpt3-175b"), ("1024", "2048"))
    with pytest.raises(InfeasiblePlanError) as caught:
        costsim.plan(path)
    hint = caught.value.problems[0].hint
    assert hint is not None
    devices = int(hint.split(" ")[0].replace(",", ""))
    fixed = written(
        tmp_path, ("gpt2-xl", "gpt3-175b"), ("1024", "2048"), ("devices: 16", f"devices: {devices}")
    )
    assert costsim.plan(fixed).details.search.order.size


@pytest.mark.parametrize("format_name", ["table", "json", "markdown", "html", "csv"])
def test_every_format_prints(
    format_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(written(tmp_path)), "--format", format_name]) == 0
    assert len(capsys.readouterr().out) > 500


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=40))
def test_pareto_keeps_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    first, second = (np.array(axis, float) for axis in zip(*points, strict=True))
    kept = {p for p, keep in zip(points, pareto(first, second), strict=True) if keep}
    beaten = {p for p in points if any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}
    assert kept == set(points) - beaten


def brute_force(limits: Limits, devices: int) -> set[tuple[int, ...]]:
    """Every legal division by trying all numbers, not divisors."""
    found: set[tuple[int, ...]] = set()
    span = range(1, devices + 1)
    for tp, pp, cp in product(span, span, span):
        if devices % (tp * pp * cp) or limits.heads % tp or pp > limits.depth:
            continue
        if any(group % tp and tp % group for group in limits.groups):
            continue
        if cp > 1 and (limits.sequence % (2 * cp) or limits.sequence // cp < 256):
            continue
        dp = devices // (tp * pp * cp)
        if limits.global_batch % dp:
            continue
        for micro_batch in range(1, min(64, limits.global_batch // dp) + 1):
            if (limits.global_batch // dp) % micro_batch:
                continue
            micro_batches = limits.global_batch // dp // micro_batch
            for vp in range(1, limits.depth // pp + 1):
                interleaved = vp > 1
                if interleaved and (pp == 1 or limits.depth % (pp * vp) or micro_batches % pp):
                    continue
                found.add((tp, pp, vp, dp, cp, micro_batch))
    return found


@given(
    st.sampled_from([1, 2, 3, 4, 6, 8, 12]),
    st.sampled_from([(4, 4), (8, 2), (12, 12), (6, 1)]),
    st.integers(1, 12),
    st.sampled_from([4, 6, 8, 24]),
)
def test_space_is_every_legal_division(
    devices: int, heads: tuple[int, int], depth: int, batch: int
) -> None:
    limits = Limits(heads[0], heads[1:], depth, 1024, batch)
    choices = Choices(sp=(False,), zero=(0,), recompute=("none",))
    found = legal_strategies(limits, [devices], choices)
    rows = {
        (s.tp, s.pp, s.vp, s.dp, s.cp, s.micro_batch)
        for s in (found.row(index) for index in range(len(found)))
    }
    assert rows == brute_force(limits, devices)
    assert len(rows) == len(found)


@given(st.integers(1, 5000))
def test_divisors(number: int) -> None:
    assert divisors(number) == [d for d in range(1, number + 1) if number % d == 0]
