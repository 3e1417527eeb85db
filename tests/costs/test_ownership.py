import pytest

from costsim.costs.energy import Estimate
from costsim.costs.grids import Pue
from costsim.costs.ownership import (
    PurchasePrice,
    ownership_usd_per_device_hour,
    purchase_price,
    purchase_range_usd,
)
from costsim.errors import SpecError, UnknownNameError

PURCHASE = PurchasePrice("x", 30_000.0, 30_000.0, "server_share", "2025", "a quote")
TERMS = {
    "power_w": Estimate(1000.0, 900.0, 1100.0, "a meter"),
    "pue": Pue(1.2, 1.2, 1.2, "one building", "its bill"),
    "years": 4.0,
    "utilisation_ratio": 0.8,
    "electricity_usd_per_kwh": 0.08,
    "network_ratio": 0.2,
    "residual_ratio": 0.1,
    "interest_per_year_ratio": 0.06,
    "operation_per_year_ratio": 0.05,
}


def test_by_hand():
    # 36,000 $ with network; 28,032 used hours; mean value bound 19,800 $.
    cost = ownership_usd_per_device_hour(PURCHASE, **TERMS)
    assert cost.purchase_usd_per_device_hour == pytest.approx(36_000 * 0.9 / 28_032)
    assert cost.capital_usd_per_device_hour == pytest.approx(19_800 * 0.06 / 7_008)
    assert cost.operation_usd_per_device_hour == pytest.approx(36_000 * 0.05 / 7_008)
    assert cost.energy_usd_per_device_hour == pytest.approx(0.096)
    assert cost.usd_per_device_hour == pytest.approx(1.1558 + 0.16952 + 0.25685 + 0.096, rel=1e-4)


def test_every_factor_is_named_with_its_source():
    factors = ownership_usd_per_device_hour(PURCHASE, **TERMS).factors
    assert len(factors) == 10
    assert all(factor.name and factor.unit and factor.source for factor in factors)


def test_lifetime_cost_is_what_was_spent():
    cost = ownership_usd_per_device_hour(PURCHASE, **TERMS | {"interest_per_year_ratio": 0.0})
    used_hours = 4 * 8760 * 0.8
    spent = 36_000 * 0.9 + 36_000 * 0.05 * 4 + used_hours * 1.2 * 0.08
    assert cost.usd_per_device_hour * used_hours == pytest.approx(spent)


def test_all_impossible_factors_are_named_at_once():
    wrong = {"years": 0.0, "utilisation_ratio": 1.2, "residual_ratio": 1.0}
    with pytest.raises(SpecError) as caught:
        ownership_usd_per_device_hour(PURCHASE, **TERMS | wrong)
    assert len(caught.value.problems) == 3


def test_the_newest_price_of_the_widest_scope_is_taken():
    price = purchase_price("nvidia-h100-sxm5-80gb")
    assert (price.scope, price.as_of) == ("server_share", "2025-03-03")
    low, high = purchase_range_usd("nvidia-h100-sxm5-80gb")
    assert low <= price.usd_per_device <= high


def test_an_unknown_purchase_price_is_an_error():
    with pytest.raises(UnknownNameError, match="nvidia-h200-sxm-141gb"):
        purchase_price("nvidia-h200-sxm")
