"""Exchange rates: there and back is where one was, and money reads alike in every currency."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.currencies import currencies, currency, named_in
from costsim.errors import UnitError, UnknownNameError
from costsim.units import parse_quantity

CODES = st.sampled_from(sorted(currencies()))


@given(CODES, st.floats(0, 1e12))
def test_there_and_back_is_where_one_was(code: str, amount: float):
    one = currency(code)
    assert one.of_usd(one.to_usd(amount)) == pytest.approx(amount, rel=1e-12, abs=1e-300)
    assert one.to_usd(one.of_usd(amount)) == pytest.approx(amount, rel=1e-12, abs=1e-300)


@given(CODES, CODES, CODES, st.floats(0.01, 1e9))
def test_a_way_round_through_three_currencies_earns_nothing(a: str, b: str, c: str, amount: float):
    usd = currency(a).to_usd(amount)
    for code in (b, c, a):
        usd = currency(code).to_usd(currency(code).of_usd(usd))
    assert currency(a).of_usd(usd) == pytest.approx(amount, rel=1e-12)


@given(CODES, st.integers(1, 10**6))
def test_a_quantity_in_a_currency_is_what_its_rate_says(code: str, amount: int):
    usd = currency(code).to_usd(float(amount))
    assert parse_quantity(f"{amount} {code}", "usd") == pytest.approx(usd)
    assert parse_quantity(f"{amount} {code}/h", "usd_per_hour") == pytest.approx(usd)
    assert parse_quantity(f"{amount} k{code}", "usd") == pytest.approx(1e3 * usd)


def test_signs_and_counts():
    euro = parse_quantity("1 EUR", "usd")
    for text in ("1 €", "€1", "€ 1", "1€"):
        assert parse_quantity(text, "usd") == pytest.approx(euro)
    assert parse_quantity("€2.5M", "usd") == pytest.approx(2.5e6 * euro)
    assert parse_quantity("0.2 €/kWh", "usd_per_kwh") == pytest.approx(0.2 * euro)
    # A dollar is a dollar, and the euro's own rate is the published one turned over.
    assert currency("USD").usd == 1
    assert currency("€").code == "EUR"


def test_what_is_no_currency_is_refused():
    with pytest.raises(UnitError, match="unknown unit"):
        parse_quantity("2 XXX/h", "usd_per_hour")
    with pytest.raises(UnitError):
        parse_quantity("2 EUR", "s")
    with pytest.raises(UnknownNameError, match="no exchange rate"):
        currency("XXX")


def test_currencies_that_a_text_names():
    assert named_in("2.5 EUR/h") == {"EUR"}
    assert named_in("5 M€ or £3") == {"EUR", "GBP"}
    assert named_in("4 MEUR") == {"EUR"}
    assert named_in("3 USD, 2 TFLOP") == set()
