"""Instances taken back: closed forms against runs played out, and what may never happen."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.training.goodput import Reliability, goodput, reliability
from costsim.training.preemption import Replacement, with_replacement

HOUR_S = 3600.0
EACH = 8


def rates(hours: float | None) -> Reliability:
    """Failing hardware as published, and instances taken back after so many hours."""
    return reliability(
        1e9,
        restart_s=600.0,
        checkpoint_s=20.0,
        spot_devices=None if hours is None else EACH,
        preemption_s=None if hours is None else hours * HOUR_S,
    )


def kept(hours: float, wait_s: float, devices: int, *, elastic: bool = False) -> float:
    then = Replacement(EACH, wait_s, elastic)
    # Below 1e-100 a job never ends, and how little it does is not told apart.
    return max(goodput(devices, with_replacement(rates(hours), then, devices, 8)).ratio, 1e-100)


@pytest.mark.parametrize("hours", [8.0, 48.0, 300.0])
def test_the_mean_is_that_of_two_kinds_of_interruption_played_out(hours: float):
    # Each kind is drawn by itself, with its own outage; nothing is joined beforehand.
    devices, failing_s, restart_s, wait_s = 64, 20 * HOUR_S, 600.0, 7200.0
    joint = reliability(
        1.0,
        device_mtbf_s=failing_s * devices,
        restart_s=restart_s,
        checkpoint_s=60.0,
        spot_devices=EACH,
        preemption_s=hours * HOUR_S,
    )
    joint = with_replacement(joint, Replacement(EACH, wait_s, False), devices, 8)
    planned, chance = goodput(devices, joint), random.Random(5)
    preempted_s = hours * HOUR_S / (devices / EACH)

    def interval() -> float:
        clock, ahead = 0.0, planned.checkpoint_interval_s + 60.0
        stretch = ahead
        while True:
            fails = chance.expovariate(1 / failing_s)
            taken = chance.expovariate(1 / preempted_s)
            if min(fails, taken) >= ahead:
                return clock + ahead
            clock += min(fails, taken)
            ahead = stretch + restart_s + (wait_s if taken < fails else 0.0)

    played = statistics.fmean(interval() for _ in range(60_000))
    assert planned.mean_s == pytest.approx(played, rel=0.01)


@given(st.floats(0.1, 1e5), st.floats(0, 1e4), st.floats(1, 10), st.integers(1, 512))
def test_spot_never_keeps_more_than_without_and_less_the_oftener(
    hours: float, wait_s: float, factor: float, instances: int
):
    devices, slack = EACH * instances, 1 + 1e-9
    often, seldom = kept(hours, wait_s, devices), kept(hours * factor, wait_s, devices)
    assert often <= seldom * slack
    assert seldom <= goodput(devices, rates(None)).ratio * slack
    assert kept(hours, wait_s * factor, devices) <= often * slack
    # An elastic run loses no more than one that waits.
    assert kept(hours, wait_s, devices, elastic=True) >= often / slack


@given(st.floats(1, 1e4), st.floats(0, 1e4), st.integers(1, 512))
def test_spot_never_costs_less_than_its_restarts_do(hours: float, wait_s: float, instances: int):
    # An hour of steps sees `instances / hours` preemptions, and each has its outage.
    outages_h = instances / hours * (600.0 + wait_s) / HOUR_S
    paid_h = 1 / kept(hours, wait_s, EACH * instances)
    assert paid_h >= (1 + outages_h) * (1 - 1e-9)


def test_an_elastic_run_lacks_the_replicas_that_an_instance_held_part_of():
    one = Replacement(EACH, 3600.0, True)
    assert one.outage_s(60.0, 64, 8) == pytest.approx(2 * 60 + 3600 * 8 / 64)
    assert one.outage_s(60.0, 64, 16) == pytest.approx(2 * 60 + 3600 * 16 / 64)
    assert one.outage_s(60.0, 64, 1) == pytest.approx(2 * 60 + 3600 * 8 / 64)
    # One replica over all devices cannot go on without an instance; short waits are waited for.
    assert one.outage_s(60.0, 64, 64) == 60.0 + 3600.0
    assert Replacement(EACH, 10.0, True).outage_s(60.0, 64, 8) == 70.0
