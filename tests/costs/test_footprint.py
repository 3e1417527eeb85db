"""Market-based emissions, making of the hardware, water and hours: by hand and by their laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.costs.energy import Estimate
from costsim.costs.footprint import cleanest_ratio, footprint_of, load_ratio

DAYS = st.lists(st.floats(0.01, 1e3), min_size=24, max_size=24)


def even(profile: list[float]) -> tuple[float, ...]:
    return footprint_of("own", "none", profile=profile).profile


def test_what_is_published_is_taken_and_what_is_stated_wins():
    known = footprint_of("aws", "nvidia-a100-sxm4-80gb")
    assert known.market_g_per_kwh is not None
    assert known.market_g_per_kwh.value == 0
    assert known.water_l_per_kwh is not None
    assert known.water_l_per_kwh.value == 0.15
    own = footprint_of("aws", "nvidia-a100-sxm4-80gb", market_g_per_kwh=30, water_l_per_kwh=0)
    assert own.market_g_per_kwh is not None
    assert own.market_g_per_kwh.value == 30
    assert own.water_l_per_kwh is not None
    assert own.water_l_per_kwh.value == 0


def test_what_is_not_known_is_none_and_never_zero():
    unknown = footprint_of("own", "nvidia-v100-sxm2-32gb")
    energy = Estimate(1e6, 9e5, 1.2e6)
    assert unknown.market_t(energy) is None
    assert unknown.water_m3(energy, 1.2) is None
    assert unknown.embodied_t(1e6) is None


def test_the_lines_are_what_a_pencil_makes_of_them():
    one = footprint_of(
        "own",
        "x",
        market_g_per_kwh=50,
        water_l_per_kwh=0.5,
        embodied_kg_per_device=400,
        lifetime_years=4,
    )
    energy = Estimate(2e6, 1e6, 3e6)  # 2 GWh at the meter, PUE 1.25: 1.6 GWh in the machines
    market, water = one.market_t(energy), one.water_m3(energy, 1.25)
    assert market is not None
    assert market.value == pytest.approx(100.0)
    assert water is not None
    assert water.value == pytest.approx(800.0)
    # 35,040 hours are the whole life of one device.
    assert one.embodied_t(35_040) == pytest.approx(0.4)


@given(DAYS, st.floats(0.1, 100))
def test_an_even_load_emits_the_mean(profile: list[float], load: float):
    assert load_ratio(even(profile), [load] * 24) == pytest.approx(1.0)
    assert load_ratio((), [1.0, 5.0]) == 1.0


@given(DAYS, DAYS)
def test_a_load_emits_between_the_cleanest_and_the_dirtiest_hour(
    profile: list[float], load: list[float]
):
    shape = even(profile)
    ratio = load_ratio(shape, load)
    assert min(shape) * (1 - 1e-9) <= ratio <= max(shape) * (1 + 1e-9)


@given(DAYS, st.integers(1, 23))
def test_fewer_hours_are_cleaner(profile: list[float], hours: int):
    shape = even(profile)
    assert cleanest_ratio(shape, hours) <= cleanest_ratio(shape, hours + 1) * (1 + 1e-9)
    assert cleanest_ratio(shape, 24) == pytest.approx(1.0)
    # The best of all choices: a load of just those hours emits as much.
    order = sorted(range(24), key=lambda hour: shape[hour])[:hours]
    chosen = [1.0 if hour in order else 0.0 for hour in range(24)]
    assert cleanest_ratio(shape, hours) == pytest.approx(load_ratio(shape, chosen))
