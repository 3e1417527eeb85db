"""The price's region is the grid's region, or a note says that it is not."""

import pytest

from costsim.costs.grids import grid_for, pue_for
from costsim.costs.prices import offers_of, price_for, priced_accelerators
from costsim.costs.site import locate

H100 = "nvidia-h100-sxm5-80gb"


@pytest.mark.parametrize(
    ("provider", "region", "grid"),
    [
        ("gcp", "europe-west4", "gcp:europe-west4"),
        ("azure", "eastus2", "azure:East US 2"),
        ("aws", "us-east-1", "aws:us-east-1"),
    ],
)
def test_grid_and_overhead_follow_the_price(provider: str, region: str, grid: str) -> None:
    price = price_for(H100, provider, region).price
    found = locate(price)
    assert found.grid == grid_for(grid)
    assert found.pue == pue_for(provider, region)
    assert not found.notes


def test_a_stated_grid_elsewhere_is_said() -> None:
    price = price_for(H100, "azure", "eastus2").price
    found = locate(price, grid_for("FRA"))
    assert found.grid.name == "France"
    assert "azure eastus2" in found.notes[0]
    assert "France" in found.notes[0]
    assert not locate(price, grid_for("azure:East US 2")).notes


def test_a_stated_price_is_of_no_place() -> None:
    found = locate(price_for(H100, quote=2.0).price)
    assert found.grid.code == "USA"
    assert "no known place" in found.notes[0]


@pytest.mark.parametrize("accelerator", priced_accelerators())
def test_every_offer_has_a_place_or_a_note(accelerator: str) -> None:
    for offer in offers_of(accelerator):
        found = locate(offer)
        assert found.pue.value_ratio >= 1
        if found.grid.kind != f"{offer.provider}_region":
            known = offer.region.lower().startswith("us") or "us" in offer.region.lower()
            assert found.notes or known, offer
