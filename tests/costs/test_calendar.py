"""Cash flow: months sum to lines, lines to the total, and money follows the days."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.costs.calendar import Payment, cash_flow

DAYS = st.dates(date(2020, 1, 1), date(2035, 12, 31))
PAYMENTS = st.builds(Payment, st.text(max_size=3), st.integers(0, 10**12), DAYS, st.floats(0, 2000))


@given(st.lists(PAYMENTS, min_size=1, max_size=5))
def test_months_sum_to_the_lines_and_lines_to_the_total(payments: list[Payment]) -> None:
    found = cash_flow(tuple(payments))
    for payment, (name, cents) in zip(payments, found.lines, strict=True):
        assert (name, sum(cents)) == (payment.name, payment.usd_cents)
        assert min(cents) >= 0
    assert sum(found.totals_cents) == sum(payment.usd_cents for payment in payments)
    assert list(found.months) == sorted(set(found.months))


def test_by_hand() -> None:
    run = Payment(
        "Compute", 3_100_00, date(2026, 12, 17), 31.0
    )  # 15 days of December, 16 of January
    found = cash_flow((run, Payment("Egress", 50_00, date(2027, 1, 17))))
    assert found.months == ("2026-12", "2027-01")
    assert found.lines == (("Compute", (1_500_00, 1_600_00)), ("Egress", (0, 50_00)))
    assert found.totals_cents == (1_500_00, 1_650_00)


@pytest.mark.parametrize("days", [1.0, 40.5, 400.0])
def test_each_day_gets_its_share(days: float) -> None:
    start, cents = date(2027, 1, 20), 10**9
    found = cash_flow((Payment("x", cents, start, days),))
    by_day: dict[str, float] = {}
    for day in range(int(days) + 1):
        when = start + timedelta(days=day)
        month = f"{when:%Y-%m}"
        by_day[month] = by_day.get(month, 0.0) + min(1.0, days - day) * cents / days
    for month, amount in zip(found.months, found.totals_cents, strict=True):
        assert amount == pytest.approx(by_day.get(month, 0.0), abs=1.5)
