"""The gate that every price of the catalogue passes."""

import csv
import os
from pathlib import Path

import pytest

from costsim.costs.ownership import SCOPES, purchase_prices, purchase_range_usd
from costsim.costs.prices import (
    newest_day,
    offers_of,
    priced_accelerators,
    providers,
)
from costsim.costs.tables import Row, earliest_day, latest_day, read_table
from costsim.errors import CatalogError
from costsim.hardware.catalog import accelerator_ids

OFFERS = [offer for accelerator in priced_accelerators() for offer in offers_of(accelerator)]
SHARED = Path(
    os.environ.get("COSTSIM_SHARED", Path(__file__).resolve().parents[2].parent / "shared")
)


def test_the_catalogue_is_large_enough_to_be_of_use():
    assert len(OFFERS) > 1000
    assert {"aws", "azure", "gcp", "oci", "lambda", "latitude.sh"} <= set(providers())
    assert str(newest_day()) == "2026-09-06"


def test_every_priced_accelerator_is_in_the_hardware_catalogue():
    bought = {price.accelerator_id for price in purchase_prices()}
    retired = {"intel-gaudi1"}  # still rented, too old for the hardware catalogue
    assert (bought | set(priced_accelerators())) - retired <= set(accelerator_ids())


def test_every_offer_has_a_source_and_a_date():
    assert all(offer.source and offer.as_of for offer in OFFERS)


def test_no_discounted_price_is_above_on_demand_of_the_same_instance():
    on_demand = {
        (o.provider, o.region, o.instance_type, o.accelerator_id, o.devices): o.usd_per_device_hour
        for o in OFFERS
        if o.term == "on_demand"
    }
    compared = 0
    for o in OFFERS:
        key = o.provider, o.region, o.instance_type, o.accelerator_id, o.devices
        if o.term != "on_demand" and key in on_demand:
            compared += 1
            assert o.usd_per_device_hour <= on_demand[key], o
    assert compared > 100


def test_longer_reservations_are_not_dearer():
    priced = {
        (o.provider, o.region, o.instance_type, o.accelerator_id, o.as_of, o.term): o
        for o in OFFERS
    }
    for (*place, term), offer in priced.items():
        one_year = priced.get((*place, "reserved_1y"))
        if term == "reserved_3y" and one_year:
            assert offer.usd_per_device_hour <= one_year.usd_per_device_hour


SOLD_ONCE = {"amd-mi355x", "nvidia-gb300", "nvidia-gh200-96gb"}
"""What only one offer of the lists has."""


def test_accelerators_have_two_dated_prices_or_are_known_to_be_sold_once():
    dated = {
        one: {(o.provider, o.region, o.instance_type, o.as_of) for o in offers_of(one) if o.as_of}
        for one in priced_accelerators()
    }
    assert {one for one, offers in dated.items() if len(offers) < 2} == SOLD_ONCE


def test_no_sentinels():
    # 700 $/h for "not available" is in none; the dearest real list price is GB200 in Brazil.
    assert max(offer.usd_per_device_hour for offer in OFFERS) < 60
    assert min(offer.usd_per_device_hour for offer in OFFERS) > 0.01


def test_no_price_is_a_fraction_of_a_device():
    for accelerator in priced_accelerators():
        cheapest: dict[str, float] = {}
        for offer in offers_of(accelerator):
            if offer.term == "on_demand":
                before = cheapest.get(offer.provider, offer.usd_per_device_hour)
                cheapest[offer.provider] = min(before, offer.usd_per_device_hour)
        if len(cheapest) > 2:
            prices = sorted(cheapest.values())
            assert prices[0] > prices[1] / 4, (accelerator, cheapest)


def test_one_price_an_offer():
    keys = [
        (o.provider, o.region, o.instance_type, o.accelerator_id, o.devices, o.term) for o in OFFERS
    ]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("provider", "instance", "region", "usd_per_hour", "devices"),
    [  # public list prices per instance
        ("aws", "p5.48xlarge", "us-east-1", 55.04, 8),
        ("azure", "Standard_ND96amsr_A100_v4", "eastus", 32.77, 8),
        ("gcp", "a2-ultragpu-8g", "us-central1", 40.22162, 8),
        ("oci", "BM.GPU.GB200.4", "all", 64.0, 4),
    ],
)
def test_price_per_device_is_the_share_of_the_instance(
    provider: str, instance: str, region: str, usd_per_hour: float, devices: int
):
    (offer,) = [
        o
        for o in OFFERS
        if (o.provider, o.instance_type, o.region, o.term)
        == (provider, instance, region, "on_demand")
    ]
    assert offer.usd_per_device_hour == pytest.approx(usd_per_hour / devices, rel=1e-12)


def test_prices_agree_with_the_reference_table():
    path = SHARED / "catalogs" / "cloud_prices.csv"
    if not path.exists():
        pytest.skip("the reference tables (COSTSIM_SHARED) are not here")
    columns = ("provider", "region", "instance_type", "accelerator_id", "count", "as_of")
    with path.open(newline="") as lines:
        reference = {
            tuple(r[column] for column in columns): float(r["on_demand_usd_per_accel_h"])
            for r in csv.DictReader(lines)
            if r["on_demand_usd_per_accel_h"]
        }
    compared = 0
    for offer in OFFERS:
        key = offer.provider, offer.region, offer.instance_type, offer.accelerator_id
        listed = reference.get((*key, str(offer.devices), offer.as_of))
        if listed and offer.term == "on_demand" and offer.instance_type:
            compared += 1
            assert offer.usd_per_device_hour == pytest.approx(listed, rel=1e-3)
    assert compared > 500


def test_purchase_prices_are_ordered_and_scoped():
    prices = purchase_prices()
    assert {price.scope for price in prices} == set(SCOPES)
    for price in prices:
        assert price.low_usd_per_device <= price.high_usd_per_device
        low, high = purchase_range_usd(price.accelerator_id)
        assert low <= high


def test_partial_dates_span_what_they_can_mean():
    assert str(earliest_day("2026")) == "2026-01-01"
    assert str(latest_day("2026")) == "2026-12-31"
    assert str(latest_day("2024-02")) == "2024-02-29"
    assert str(latest_day("2025-12")) == "2025-12-31"
    assert earliest_day("2026-07-20") == latest_day("2026-07-20")


def test_a_broken_table_names_every_line(tmp_path: Path):
    table = tmp_path / "x.csv"
    table.write_text("a,b\n1,2026\nnan,2026-13\n0,x\n1\n", encoding="utf-8")

    def record(row: Row) -> tuple[float, str]:
        return row.number("a"), row.date("b")

    with pytest.raises(CatalogError) as caught:
        read_table(table, ("a", "b"), record)
    lines = [problem.location.line for problem in caught.value.problems if problem.location]
    assert lines == [3, 3, 4, 4, 5]


def test_a_missing_column_is_named(tmp_path: Path):
    table = tmp_path / "x.csv"
    table.write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="missing column b"):
        read_table(table, ("a", "b"), lambda row: row.text("b"))
