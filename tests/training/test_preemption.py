"""Instances taken back: closed forms against runs played out, and what may never happen."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.training.goodput import Reliability, goodput
from costsim.training.preemption import Preemption, outage_s, with_preemption

HOUR_S = 3600.0
RATES = Reliability(1.82e8, 600.0, 20.0, "published")


def spot(hours: float, replaced_s: float = 1800.0, *, elastic: bool = False) -> Preemption:
    return Preemption(hours * HOUR_S, 8, replaced_s, elastic, "stated")


@pytest.mark.parametrize("hours", [8.0, 48.0, 300.0])
def test_the_mean_is_that_of_two_kinds_of_interruption_played_out(hours: float):
    # Each kind is drawn by itself, with its own outage; nothing is joined beforehand.
    devices, failing_s, restart_s, waits_s = 64, 20 * HOUR_S, 600.0, 7200.0
    rates = Reliability(failing_s * devices, restart_s, 60.0, "test")
    joined = with_preemption(rates, spot(hours, waits_s), devices, 8)
    kept, chance = goodput(devices, joined), random.Random(5)
    preempted_s = hours * HOUR_S / (devices / 8)

    def interval() -> float:
        clock, ahead = 0.0, kept.checkpoint_interval_s + 60.0
        stretch = ahead
        while True:
            fails = chance.expovariate(1 / failing_s)
            taken = chance.expovariate(1 / preempted_s)
            if min(fails, taken) >= ahead:
                return clock + ahead
            clock += min(fails, taken)
            ahead = stretch + restart_s + (waits_s if taken < fails else 0.0)

    played = statistics.fmean(interval() for _ in range(60_000))
    assert kept.mean_s == pytest.approx(played, rel=0.01)


@given(st.floats(0.1, 1e5), st.floats(0, 1e4), st.floats(1, 10), st.integers(1, 512))
def test_spot_never_keeps_more_than_without_and_less_the_oftener(
    hours: float, replaced_s: float, factor: float, instances: int
):
    devices = 8 * instances

    def ratio(one: Preemption) -> float:
        return max(goodput(devices, with_preemption(RATES, one, devices, 8)).ratio, 1e-100)

    slack = 1 + 1e-9
    often, seldom = spot(hours, replaced_s), spot(hours * factor, replaced_s)
    assert ratio(often) <= ratio(seldom) * slack
    assert ratio(seldom) <= goodput(devices, RATES).ratio * slack
    assert ratio(spot(hours, replaced_s * factor)) <= ratio(often) * slack
    # An elastic run loses no more than one that waits.
    assert ratio(spot(hours, replaced_s, elastic=True)) >= ratio(often) / slack


@given(st.floats(1, 1e4), st.floats(0, 1e4), st.integers(2, 512))
def test_spot_never_costs_less_than_its_restarts_do(
    hours: float, replaced_s: float, instances: int
):
    # Of a useful hour: every preemption costs at least its outage, however often others strike.
    devices, one = 8 * instances, spot(hours, replaced_s)
    kept = goodput(devices, with_preemption(RATES, one, devices, 8))
    preemptions_per_hour = instances / hours
    outages_h = preemptions_per_hour * outage_s(one, RATES.restart_s, devices, 8) / HOUR_S
    paid_h = 1 / max(kept.ratio, 1e-300)
    assert paid_h >= (1 + outages_h) * (1 - 1e-9)


def test_an_elastic_run_lacks_the_replicas_that_an_instance_held_part_of():
    one = spot(20.0, 3600.0, elastic=True)
    assert outage_s(one, 60.0, 64, 8) == pytest.approx(2 * 60 + 3600 * 8 / 64)
    assert outage_s(one, 60.0, 64, 16) == pytest.approx(2 * 60 + 3600 * 16 / 64)
    assert outage_s(one, 60.0, 64, 1) == pytest.approx(2 * 60 + 3600 * 8 / 64)
    # One replica over all devices cannot go on without an instance; short waits are waited for.
    assert outage_s(one, 60.0, 64, 64) == 60.0 + 3600.0
    assert outage_s(spot(20.0, 10.0, elastic=True), 60.0, 64, 8) == 70.0


def test_preemptions_that_never_come_change_nothing():
    joined = with_preemption(RATES, spot(1e15), 64, 8)
    assert goodput(64, joined).ratio == pytest.approx(goodput(64, RATES).ratio, rel=1e-9)
