from __future__ import annotations

import pytest

from costsim.hardware import load_hardware
from costsim.planning.intervals import memory_interval, regime, step_time_interval


@pytest.mark.parametrize(
    ("device", "devices", "host_ratio", "expected"),
    [
        ("nvidia-h100-sxm5-80gb", 64, 0.0, "known"),
        ("nvidia-h100-sxm5-80gb", 64, 0.4, "host_bound"),
        ("nvidia-h100-sxm5-80gb", 8192, 0.0, "large_scale"),
        ("amd-mi300x", 8, 0.0, "sheet_only"),
    ],
)
def test_the_regime_of_an_estimate(
    device: str, devices: int, host_ratio: float, expected: str
) -> None:
    assert regime(load_hardware(device), devices, host_ratio) == expected


@pytest.mark.parametrize(
    ("host_ratio", "devices", "expected"),
    [(0.0, 64, "mixture"), (0.4, 64, "host_bound"), (0.0, 8192, "large_scale")],
)
def test_a_mixture_has_a_regime_of_its_own(host_ratio: float, devices: int, expected: str) -> None:
    system = load_hardware("nvidia-h100-sxm5-80gb")
    assert regime(system, devices, host_ratio, mixture=True) == expected


@pytest.mark.parametrize("device", ["nvidia-h100-sxm5-80gb", "amd-mi300x", "google-tpu-v6e"])
@pytest.mark.parametrize("devices", [8, 4096])
@pytest.mark.parametrize("step_s", [0.01, 10.0])
@pytest.mark.parametrize("host_ratio", [0.0, 0.5])
def test_an_interval_scales_with_its_estimate(
    device: str, devices: int, step_s: float, host_ratio: float
) -> None:
    low, high = step_time_interval(step_s, load_hardware(device), devices, host_ratio)
    assert 0.3 * step_s < low < high < 4 * step_s


def test_memory_may_be_more_or_less() -> None:
    low, high = memory_interval(10e9)
    assert low < 10.5e9
    assert high > 10e9
