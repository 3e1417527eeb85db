import pytest

from costsim.costs.grids import grid_for, grids, pue_for
from costsim.errors import UnknownNameError


def test_every_grid_is_plausible_dated_and_sourced():
    for grid in grids():
        # From Swedish hydro (3) to old gas plants in Turkmenistan (1,306).
        assert 1 < grid.g_per_kwh < 1400, grid
        assert grid.low_g_per_kwh <= grid.g_per_kwh <= grid.high_g_per_kwh
        assert grid.year
        assert grid.source
        assert "location" in grid.basis


def test_codes_are_unique_within_a_kind():
    keys = [(grid.kind, grid.code) for grid in grids()]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("FRA", "FRA"),
        ("france", "FRA"),
        ("US-VA", "US-VA"),
        ("us-central1", "us-central1"),
        ("gcp:us-central1", "us-central1"),
        ("azure:westeurope", "West Europe"),
        ("aws:us-east-1", "us-east-1"),
    ],
)
def test_a_grid_has_several_names(place: str, code: str):
    assert grid_for(place).code == code


def test_carbon_dioxide_alone_is_not_called_equivalent():
    assert grid_for("CN-SC").gas == "CO2"
    assert grid_for("CHN").gas == "CO2e"


def test_unknown_and_ambiguous_places_are_errors_with_a_hint():
    with pytest.raises(UnknownNameError, match="did you mean `France`"):
        grid_for("Frence")
    with pytest.raises(UnknownNameError, match="`US-GA`"):
        grid_for("Georgia")


def test_pue():
    assert pue_for("gcp", "us-central1").value_ratio == 1.11
    assert pue_for("gcp", "a site of its own").value_ratio == pue_for("gcp").value_ratio == 1.09
    unnamed = pue_for()
    assert unnamed.low_ratio <= unnamed.value_ratio < unnamed.high_ratio
    assert "not named" in unnamed.basis
    with pytest.raises(UnknownNameError, match=r"pue: 1\.2"):
        pue_for("lambda")
