"""Interruptions and checkpoints: closed forms against brute force and against runs played out."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.training.goodput import (
    Reliability,
    best_interval_s,
    goodput,
    interval_moments_s,
    reliability,
)

HOUR_S = 3600.0
MTBFS_S = [HOUR_S, 6 * HOUR_S, 24 * HOUR_S, 7 * 24 * HOUR_S, 30 * 24 * HOUR_S]


def played_out_s(
    work_s: float, checkpoint_s: float, restart_s: float, mtbf_s: float, chance: random.Random
) -> float:
    """One interval of work and its checkpoint, with interruptions drawn one by one."""
    clock_s, ahead_s = 0.0, work_s + checkpoint_s
    while True:
        until_s = chance.expovariate(1 / mtbf_s)
        if until_s >= ahead_s:
            return clock_s + ahead_s
        clock_s += until_s
        ahead_s = restart_s + work_s + checkpoint_s


def ratio_at(interval_s: float, checkpoint_s: float, restart_s: float, mtbf_s: float) -> float:
    return interval_s / interval_moments_s(interval_s, checkpoint_s, restart_s, mtbf_s)[0]


@pytest.mark.parametrize("mtbf_s", MTBFS_S)
@pytest.mark.parametrize("checkpoint_s", [5.0, 120.0])
def test_moments_are_those_of_intervals_played_out(mtbf_s: float, checkpoint_s: float):
    restart_s, chance = 600.0, random.Random(7)
    work_s = best_interval_s(checkpoint_s, mtbf_s)
    mean_s, deviation_s = interval_moments_s(work_s, checkpoint_s, restart_s, mtbf_s)
    played = [played_out_s(work_s, checkpoint_s, restart_s, mtbf_s, chance) for _ in range(60_000)]
    assert mean_s == pytest.approx(statistics.fmean(played), rel=0.01)
    assert deviation_s == pytest.approx(statistics.stdev(played), rel=0.05)


@pytest.mark.parametrize("mtbf_s", MTBFS_S)
@pytest.mark.parametrize("checkpoint_s", [1.0, 30.0, 600.0])
def test_no_interval_of_a_fine_grid_loses_less(mtbf_s: float, checkpoint_s: float):
    best_s = best_interval_s(checkpoint_s, mtbf_s)
    grid = [best_s * 1.003**step for step in range(-400, 401)]
    brute_s = max(grid, key=lambda work_s: ratio_at(work_s, checkpoint_s, 600.0, mtbf_s))
    assert best_s == pytest.approx(brute_s, rel=0.01)


def test_the_best_interval_tends_to_youngs_where_interruptions_are_rare():
    mtbf_s, checkpoint_s = 30 * 24 * HOUR_S, 10.0
    assert best_interval_s(checkpoint_s, mtbf_s) == pytest.approx(
        math.sqrt(2 * checkpoint_s * mtbf_s), rel=0.01
    )


@given(st.floats(1, 1e4), st.floats(60, 1e7))
def test_the_best_interval_solves_the_exact_condition(checkpoint_s: float, mtbf_s: float):
    u, c = best_interval_s(checkpoint_s, mtbf_s) / mtbf_s, checkpoint_s / mtbf_s
    # u e^(u + c) = e^(u + c) - 1: where the time a second of work has no slope.
    assert 0 < u <= 1
    assert u == pytest.approx(-math.expm1(-u - c), rel=1e-9)


@pytest.mark.parametrize("mtbf_s", MTBFS_S)
def test_quantiles_of_a_run_are_those_of_runs_played_out(mtbf_s: float):
    rates = Reliability(mtbf_s, 600.0, 60.0, "test")
    kept, useful_s, chance = goodput(1, rates), 10 * 24 * HOUR_S, random.Random(3)
    intervals = round(useful_s / kept.checkpoint_interval_s)
    useful_s = intervals * kept.checkpoint_interval_s
    runs = sorted(
        sum(
            played_out_s(kept.checkpoint_interval_s, 60.0, 600.0, mtbf_s, chance)
            for _ in range(intervals)
        )
        for _ in range(1_500)
    )
    assert kept.wall_s(useful_s) == pytest.approx(statistics.fmean(runs), rel=0.01)
    assert kept.wall_s(useful_s, 0.5) == pytest.approx(runs[len(runs) // 2], rel=0.01)
    assert kept.wall_s(useful_s, 0.9) == pytest.approx(runs[int(0.9 * len(runs))], rel=0.01)


@given(
    st.floats(1, 1e6), st.floats(0, 1e4), st.floats(0, 1e4), st.floats(1e4, 1e9), st.floats(1, 10)
)
def test_more_trouble_never_leaves_more(
    devices: float, checkpoint_s: float, restart_s: float, device_mtbf_s: float, factor: float
):
    def ratio(devices: float, checkpoint_s: float, restart_s: float, mtbf_s: float) -> float:
        # Below 1e-100 a job never ends, and how little it does is not told apart.
        kept = goodput(devices, Reliability(mtbf_s, restart_s, checkpoint_s, ""))
        return max(kept.ratio, 1e-100)

    least = ratio(devices, checkpoint_s, restart_s, device_mtbf_s)
    assert 0 < least <= 1
    slack = 1 + 1e-9
    assert ratio(devices * factor, checkpoint_s, restart_s, device_mtbf_s) <= least * slack
    assert ratio(devices, checkpoint_s * factor, restart_s, device_mtbf_s) <= least * slack
    assert ratio(devices, checkpoint_s, restart_s * factor, device_mtbf_s) <= least * slack
    assert ratio(devices, checkpoint_s, restart_s, device_mtbf_s / factor) <= least * slack


def test_a_quantile_is_never_under_the_work_itself():
    kept = goodput(8, Reliability(1.8e8, 600.0, 0.0, ""))
    assert kept.wall_s(86_400.0, 0.1) >= 86_400.0
    assert kept.wall_s(86_400.0, 0.1) <= kept.wall_s(86_400.0, 0.5) <= kept.wall_s(86_400.0, 0.9)


def test_failures_and_preemptions_interrupt_as_two_clocks_that_run_at_once():
    """The first of 16 instances' preemptions and 128 devices' failures, drawn one by one."""
    chance, devices, each = random.Random(3), 128, 8
    rates = reliability(
        1.0, device_mtbf_s=500 * HOUR_S, spot_devices=each, preemption_s=90 * HOUR_S
    )
    first_s = [
        min(
            *(chance.expovariate(1 / (500 * HOUR_S)) for _ in range(devices)),
            *(chance.expovariate(1 / (90 * HOUR_S)) for _ in range(devices // each)),
        )
        for _ in range(20_000)
    ]
    assert rates.device_mtbf_s / devices == pytest.approx(statistics.fmean(first_s), rel=0.02)


@given(st.floats(HOUR_S, 1e8), st.integers(1, 72))
def test_what_may_be_taken_back_is_interrupted_more(preemption_s: float, each: int):
    stated = {"device_mtbf_s": 1e7, "restart_s": 60.0, "checkpoint_s": 5.0}
    kept = reliability(1.0, **stated)
    spot = reliability(1.0, **stated, spot_devices=each, preemption_s=preemption_s)
    assert spot.device_mtbf_s < kept.device_mtbf_s
    assert goodput(64, spot).ratio <= goodput(64, kept).ratio
