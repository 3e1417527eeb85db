"""Power and energy against published measurements.

Sources of the rows: validation/training_runs.csv (energy_mwh, gpu_hours and its notes) and the
papers it names.
"""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.costs.energy import (
    NODE_LOAD_HIGH_RATIO,
    NODE_LOAD_RATIO,
    RATING_PER_TDP,
    RATING_PER_TDP_HIGH,
    RATING_PER_TDP_LOW,
    REPORTED_PUE,
    Estimate,
    carbon_t,
    device_power_w,
    embodied_t,
    energy_kwh,
    reported_energy_kwh,
)
from costsim.costs.grids import Grid, Pue, grid_for, pue_for
from costsim.errors import SpecError

# Measured power per device with its node, W; rating of the node, W; devices.
MEASURED_NODES = {
    "V100, GPT-3 (arXiv 2104.10350)": (330.0, 3500.0, 8),
    "H100, 8 GPU (arXiv 2506.14551)": (0.76 * 10200 / 8, 10200.0, 8),
    # (433.196 MWh dynamic + 256.6 MWh idle) over 1,082,990 GPU-hours (arXiv 2211.02001)
    "A100, BLOOM": ((433.196 + 256.6) * 1e6 / 1_082_990, 6500.0, 8),
}
# Rated kW, accelerators, TDP in W of the rated systems of the hardware catalogue.
RATED_SYSTEMS = [
    (3.5, 8, 300),
    (6.5, 8, 400),
    (10.2, 8, 700),
    (10.2, 8, 700),
    (14.3, 8, 1000),
    (14.0, 8, 1100),
    (120.0, 72, 1200),
    (132.0, 72, 1400),
]
# Reported energy in MWh, device-hours, TDP in W, accelerator.
REPORTED_RUNS = {
    "llama1-7b": (36.0, 82_432, 400, "nvidia-a100-sxm4-80gb"),
    "llama1-13b": (59.0, 135_168, 400, "nvidia-a100-sxm4-80gb"),
    "llama1-33b": (233.0, 530_432, 400, "nvidia-a100-sxm4-80gb"),
    "llama1-65b": (449.0, 1_022_362, 400, "nvidia-a100-sxm4-80gb"),
    "bloom-176b": (433.196, 1_082_990, 400, "nvidia-a100-sxm4-80gb"),
    "gpt3-175b": (1287.0, 3_552_000, 300, "nvidia-v100-sxm2-32gb"),
    "gopher-280b": (1151.7, 3_768_320, 450, "google-tpu-v3"),
    "t5-11b": (85.7, 246_733, 450, "google-tpu-v3"),
    "switch-1.5t": (179.0, 663_552, 450, "google-tpu-v3"),
    "meena-2.6b": (232.0, 737_280, 450, "google-tpu-v3"),
    "lamda-137b": (451.0, 1_418_035, 450, "google-tpu-v3"),
}


@pytest.mark.parametrize("name", MEASURED_NODES)
def test_power_of_a_node_with_its_row_left_out(name: str):
    measured_w, rating_w, devices = MEASURED_NODES[name]
    others = [w * n / r for other, (w, r, n) in MEASURED_NODES.items() if other != name]
    predicted_w = statistics.mean(others) * rating_w / devices
    assert abs(predicted_w / measured_w - 1) < 0.04


@pytest.mark.parametrize("name", MEASURED_NODES)
def test_power_of_a_node_against_measurement(name: str):
    measured_w, rating_w, devices = MEASURED_NODES[name]
    power_w = device_power_w(None, rating_w / devices)
    assert abs(power_w.value / measured_w - 1) < 0.04
    assert power_w.low <= measured_w <= power_w.high


def test_the_peak_measured_is_the_high_end():
    assert pytest.approx(8400 / 10200, abs=0.005) == NODE_LOAD_HIGH_RATIO
    assert NODE_LOAD_RATIO < NODE_LOAD_HIGH_RATIO


def test_what_nodes_are_rated_above_their_accelerators():
    ratios = [kw * 1e3 / n / tdp for kw, n, tdp in RATED_SYSTEMS]
    assert pytest.approx(statistics.median(ratios), rel=0.005) == RATING_PER_TDP
    assert pytest.approx(min(ratios), rel=0.005) == RATING_PER_TDP_LOW
    assert pytest.approx(max(ratios), rel=0.005) == RATING_PER_TDP_HIGH


@pytest.mark.parametrize("name", MEASURED_NODES)
def test_an_unknown_node_is_within_its_wide_interval(name: str):
    measured_w, _, _ = MEASURED_NODES[name]
    tdp_w = {"V": 300.0, "H": 700.0, "A": 400.0}[name[0]]
    power_w = device_power_w(tdp_w)
    assert power_w.low <= measured_w <= power_w.high
    assert abs(power_w.value / measured_w - 1) < 0.25


@pytest.mark.parametrize("name", REPORTED_RUNS)
def test_reported_energy_of_published_runs(name: str):
    reported_mwh, device_hours, tdp_w, accelerator = REPORTED_RUNS[name]
    predicted = reported_energy_kwh(device_hours, tdp_w, accelerator)
    assert abs(predicted.value / 1e3 / reported_mwh - 1) < 0.20
    assert predicted.low / 1e3 * 0.99 <= reported_mwh <= predicted.high / 1e3 * 1.02


@pytest.mark.parametrize("name", [n for n, row in REPORTED_RUNS.items() if "tpu" in row[3]])
def test_power_of_a_tpu_with_its_row_left_out(name: str):
    watts = {n: row[0] * 1e6 / row[1] for n, row in REPORTED_RUNS.items() if "tpu" in row[3]}
    measured_w = watts.pop(name)
    assert abs(statistics.median(watts.values()) / measured_w - 1) < 0.19


def test_reported_energy_is_right_in_the_median():
    errors = [
        abs(reported_energy_kwh(hours, tdp_w, accelerator).value / 1e3 / mwh - 1)
        for mwh, hours, tdp_w, accelerator in REPORTED_RUNS.values()
    ]
    assert statistics.median(errors) < 0.03


def test_carbon_of_gpt3_in_its_grid():
    # 1,287 MWh and 552.1 t CO2e: Patterson et al. give 0.429 kg/kWh for that data centre.
    grid = Grid("country", "X", "X", 429.0, 429.0, 429.0, "CO2e", "location", "2020", "", "paper")
    energy = reported_energy_kwh(3_552_000, 300.0) * (330 / 300)  # as measured there, not by TDP
    assert carbon_t(energy, grid).value == pytest.approx(552.1, rel=0.01)
    assert REPORTED_PUE == 1.1


def test_carbon_says_which_grid_and_year():
    estimate = carbon_t(Estimate(1e6, 1e6, 1e6), grid_for("SWE"))
    assert "Sweden" in estimate.basis
    assert "20" in estimate.basis


@given(
    st.floats(1, 1e9),
    st.floats(50, 2000),
    st.floats(1, 2),
    st.floats(1, 5),
)
def test_energy_is_linear_and_ordered(hours: float, tdp_w: float, pue: float, factor: float):
    overhead = Pue(pue, pue, pue, "", "")
    power_w = device_power_w(tdp_w)
    one = energy_kwh(hours, power_w, overhead)
    assert one.low <= one.value <= one.high
    assert energy_kwh(hours * factor, power_w, overhead).value == pytest.approx(one.value * factor)
    assert one.value >= hours * tdp_w / 1e3 * NODE_LOAD_RATIO  # a node draws more than its devices


def test_unknown_power_is_an_error():
    with pytest.raises(SpecError, match="no power is known"):
        device_power_w(None)
    with pytest.raises(SpecError, match="no power is known"):
        reported_energy_kwh(1.0, None, "google-tpu-v5e")


def test_embodied_carbon_is_spread_over_the_lifetime():
    assert embodied_t(50_000.0, 150.0, 50_000.0) == pytest.approx(0.15)
    assert embodied_t(25_000.0, 318.0, 50_000.0) == pytest.approx(0.159)


def test_provider_pue_feeds_energy():
    power_w = device_power_w(400.0, 812.5)
    assert energy_kwh(1000.0, power_w, pue_for("gcp")).value == pytest.approx(
        1000 * 812.5 * 0.76 / 1e3 * 1.09
    )
