from __future__ import annotations

import math

import pytest

from costsim.hardware import load_hardware
from costsim.planning.intervals import (
    memory_interval,
    step_time_interval,
    step_time_limits,
    unsure_of,
)


@pytest.mark.parametrize(
    ("device", "devices", "host_ratio", "expected"),
    [
        ("nvidia-h100-sxm5-80gb", 64, 0.0, ()),
        ("nvidia-h100-sxm5-80gb", 64, 0.4, ("host_bound",)),
        ("nvidia-h100-sxm5-80gb", 8192, 0.4, ("host_bound", "large_scale")),
        ("aws-trainium2", 8, 0.0, ("maker_not_measured",)),
        ("intel-gaudi2", 8, 0.0, ("maker_not_measured",)),
        ("nvidia-l40s", 8, 0.0, ("class_not_measured",)),
        ("google-tpu-v6e", 8, 0.0, ()),
    ],
)
def test_what_an_estimate_is_unsure_of(
    device: str, devices: int, host_ratio: float, expected: tuple[str, ...]
) -> None:
    assert unsure_of(load_hardware(device), devices, host_ratio) == expected


def test_software_that_few_runs_tell_of_is_less_sure() -> None:
    system = load_hardware("nvidia-h100-sxm5-80gb")
    assert unsure_of(system, 8, 0.0, software="nemo") == ()
    assert unsure_of(system, 8, 0.0, software="compiled") == ("framework_not_measured",)
    known = step_time_interval(1.0, system, 8, 0.0, software="nemo")
    other = step_time_interval(1.0, system, 8, 0.0, software="compiled")
    assert other[0] < known[0] < known[1] < other[1]


def test_each_kind_of_ignorance_widens_the_interval() -> None:
    table = {
        "known": {"low_ratio": 0.8, "high_ratio": 1.25},
        "widths": {"mixture": {"width": 0.3}, "guessed": {"width": 0.4}},
    }
    assert step_time_limits(table, ()) == pytest.approx((0.8, 1.25))
    low, high = step_time_limits(table, ("mixture", "guessed"))
    width = math.sqrt(math.log(1.25) ** 2 + 0.3**2 + 0.4**2)
    assert (low, high) == pytest.approx((math.exp(-width), math.exp(width)))


@pytest.mark.parametrize("device", ["nvidia-h100-sxm5-80gb", "amd-mi300x", "google-tpu-v6e"])
@pytest.mark.parametrize("devices", [8, 4096])
@pytest.mark.parametrize("step_s", [0.01, 10.0])
@pytest.mark.parametrize("host_ratio", [0.0, 0.5])
def test_an_interval_scales_with_its_estimate(
    device: str, devices: int, step_s: float, host_ratio: float
) -> None:
    low, high = step_time_interval(step_s, load_hardware(device), devices, host_ratio)
    assert 0.2 * step_s < low < step_s < high < 5 * step_s


def test_memory_may_be_more_or_less() -> None:
    low, high = memory_interval(10e9)
    assert low < 10.5e9
    assert high > 10e9
