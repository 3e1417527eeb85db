import subprocess
import sys

import pytest

from costsim.costs.prices import (
    COMPARABLE_DAYS,
    TERMS,
    in_united_states,
    is_stale,
    newest_day,
    offers_of,
    price_for,
    priced_accelerators,
)
from costsim.costs.tables import latest_day
from costsim.errors import SpecError, UnknownNameError

A100 = "nvidia-a100-sxm4-80gb"


def test_a_quote_wins_and_says_where_it_is_from():
    choice = price_for(A100, provider="aws", quote=2.5)
    assert choice.usd_per_device_hour == 2.5
    assert choice.price.source == "stated in the scenario"
    assert choice.low_usd_per_device_hour == choice.high_usd_per_device_hour == 2.5


def test_a_quote_needs_no_catalogue():
    assert price_for("my-own-chip", quote=1.0).usd_per_device_hour == 1.0


@pytest.mark.parametrize("quote", [0.0, -1.0, float("nan"), float("inf")])
def test_a_quote_must_be_a_price(quote: float):
    with pytest.raises(SpecError):
        price_for(A100, quote=quote)


def test_the_choice_is_the_lower_median_of_recent_whole_server_prices_by_hand():
    # By hand from the lists of 2026: AWS 27.44705/8, OCI 32/8, Azure 32.77/8, GCP 40.22162/8.
    by_hand = sorted([27.44705 / 8, 32 / 8, 32.77 / 8, 40.22162 / 8])
    choice = price_for(A100)
    assert choice.usd_per_device_hour == pytest.approx(by_hand[1])
    assert choice.low_usd_per_device_hour == pytest.approx(by_hand[0])
    assert choice.high_usd_per_device_hour == pytest.approx(by_hand[-1])
    assert choice.price.provider == "oci"


@pytest.mark.parametrize("accelerator", priced_accelerators())
def test_every_choice_is_a_listed_offer_within_its_spread(accelerator: str):
    for term in TERMS:
        if any(offer.term == term for offer in offers_of(accelerator)):
            choice = price_for(accelerator, term=term)
            assert choice.price in offers_of(accelerator)
            assert choice.price.term == term
            assert (
                choice.low_usd_per_device_hour
                <= choice.usd_per_device_hour
                <= choice.high_usd_per_device_hour
            )
            assert len({offer.provider for offer in choice.compared}) == len(choice.compared)


@pytest.mark.parametrize("accelerator", priced_accelerators())
def test_old_prices_are_compared_only_with_a_warning(accelerator: str):
    choice = price_for(accelerator)
    oldest = max((newest_day() - latest_day(p.as_of)).days for p in choice.compared)
    assert oldest <= COMPARABLE_DAYS or "a year old" in choice.warnings[0]
    if is_stale(choice.price):
        assert any(choice.price.as_of in warning for warning in choice.warnings)


def test_a_provider_and_region_are_respected():
    choice = price_for(A100, provider="gcp", region="europe-west4")
    assert (choice.price.provider, choice.price.region) == ("gcp", "europe-west4")
    assert price_for(A100, provider="oci", region="eu-frankfurt-1").price.region == "all"


def test_without_region_a_provider_is_priced_in_the_united_states():
    assert price_for(A100, provider="azure").price.region == "eastus"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("nvidia-h100",), "lists a price of `nvidia-h100`", "nvidia-h100-sxm5-80gb"),
        (("abacus",), "abacus", "price: 2.5 $/h"),
        ((A100, "azur"), "unknown provider", "did you mean `azure`"),
        ((A100, "nebius"), "nebius lists no price", "sold by `aws`"),
        ((A100, "gcp", "us-centrl1"), "region `us-centrl1`", "did you mean `us-central1`"),
        ((A100, None, "us-esst-1"), "unknown region", "did you mean `us-east-1`"),
        ((A100, "oci", None, "spot"), "no spot price", "listed: `on_demand`"),
    ],
)
def test_what_is_not_listed_is_an_error_that_says_what_is(
    arguments: tuple[str, ...], message: str, hint: str
):
    with pytest.raises(UnknownNameError) as caught:
        price_for(*arguments)  # pyright: ignore[reportArgumentType]
    assert message in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("region", "inside"),
    [
        ("us-east-1", True),
        ("us-gov-west-1", False),
        ("eastus2", True),
        ("centralus", True),
        ("us-central1", True),
        ("all", True),
        ("US-1", True),
        ("westeurope", False),
        ("australiaeast", False),
        ("", False),
    ],
)
def test_regions_of_the_united_states(region: str, inside: bool):
    assert in_united_states(region) is inside


def test_a_lookup_imports_nothing_heavy():
    code = (
        "import sys; from costsim.costs.prices import price_for; price_for('nvidia-l4');"
        "print([m for m in ('numpy', 'pandas', 'sympy', 'pydantic') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
