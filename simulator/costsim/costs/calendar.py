"""Cash flow: the lines of a budget spread over the months of a calendar.

Money follows the time it buys: a line that is used over the run is spread by the share of the run
in each month, one that is paid at once falls into the month of its day. Amounts are rounded so that
the months of a line sum to the line to the cent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from costsim.costs.budget import Budget, Line
from costsim.errors import SpecError

_DAYS_PER_MONTH = 31


@dataclass(frozen=True, slots=True)
class Payment:
    """One line of a budget with the days that it is spent over (`days` of 0: at once)."""

    name: str
    usd_cents: int
    start: date
    days: float = 0.0


@dataclass(frozen=True, slots=True)
class CashFlow:
    """Cents by line and month; `months` are ISO months, such as `2026-12`, without gaps."""

    months: tuple[str, ...]
    lines: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def totals_cents(self) -> tuple[int, ...]:
        """What each month costs."""
        return tuple(sum(cents) for cents in zip(*(row for _, row in self.lines), strict=True))

    def to_dict(self) -> dict[str, object]:
        """Return the cash flow as JSON values, in dollars."""
        return {
            "months": list(self.months),
            "lines": [
                {"name": name, "usd": [cents / 100 for cents in row]} for name, row in self.lines
            ],
            "total_usd": [cents / 100 for cents in self.totals_cents],
        }


def cash_flow(payments: tuple[Payment, ...]) -> CashFlow:
    """Spread payments over calendar months.

    Args:
        payments: at least one; `days` may be a fraction.
    """
    first = min(payment.start for payment in payments)
    last = max(payment.start + timedelta(days=payment.days) for payment in payments)
    starts = _month_starts(first, last)
    months = tuple(f"{day.year:04d}-{day.month:02d}" for day in starts[:-1])
    lines = tuple((payment.name, _spread(payment, starts)) for payment in payments)
    return CashFlow(months, lines)


def budget_payments(spent: Budget, start: date, days: float, devices: int) -> tuple[Payment, ...]:
    """Return when the lines of a budget are paid.

    What the run uses is spread over it. Device-hours of what goes before it (experiments, making a
    model) or follows it (evaluation) are spent on as many devices as the run has, up to its first
    day or from its last; other lines are then paid at once.

    Args:
        spent: the budget.
        start: first day of the run, or of the service.
        days: how long it takes.
        devices: that it holds.

    Raises:
        SpecError: where a day lies beyond the calendar.
    """
    try:
        return tuple(_payment(line, start, days, devices) for line in spent.lines)
    except OverflowError:
        raise SpecError(
            f"a start on {start} and {days:,.0f} days lead beyond the calendar",
            hint="state another `start`",
        ) from None


def _payment(line: Line, start: date, days: float, devices: int) -> Payment:
    if line.paid == "during":
        span, begin = days, start
    else:
        hourly = line.unit == "device-hours" and line.quantity
        span = line.quantity / (24 * devices) if hourly and line.quantity else 0.0
        begin = start + timedelta(days=-math.ceil(span) if line.paid == "before" else days)
    _ = begin + timedelta(days=span + _DAYS_PER_MONTH)  # the month after must exist
    return Payment(line.name, line.usd_cents, begin, span)


def _month_starts(first: date, last: date) -> list[date]:
    """Return the first day of every month from `first` to the one after `last`."""
    starts = [first.replace(day=1)]
    while starts[-1] <= last:
        year, month = starts[-1].year, starts[-1].month
        starts.append(date(year + month // 12, month % 12 + 1, 1))
    return starts


def _spread(payment: Payment, starts: list[date]) -> tuple[int, ...]:
    """Return the cents of each month; what rounding leaves goes to the largest remainders."""
    begin = float(payment.start.toordinal())
    end = begin + payment.days
    shares: list[float] = []
    for opens, closes in pairwise(starts):
        low, high = float(opens.toordinal()), float(closes.toordinal())
        if end > begin:
            shares.append(max(min(end, high) - max(begin, low), 0.0) / (end - begin))
        else:
            shares.append(1.0 if low <= begin < high else 0.0)
    exact = [payment.usd_cents * share for share in shares]
    cents = [math.floor(amount) for amount in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (cents[i] - exact[i], i))
    for i in by_remainder[: payment.usd_cents - sum(cents)]:
        cents[i] += 1
    return tuple(cents)
