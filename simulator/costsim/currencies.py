"""Currencies at dated rates: money is dollars inside, and read and shown in others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from costsim.errors import UnknownNameError, suggestion
from costsim.resources import packaged_yaml

SIGNS = {"€": "EUR", "£": "GBP"}
"""Signs that mean one currency alone (¥ is two)."""


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency: dollars for one of it, on which day, by whom."""

    code: str
    usd: Fraction
    as_of: str
    source: str

    def __str__(self) -> str:
        return f"1 {self.code} = {float(self.usd):.6g} $ on {self.as_of} ({self.source})"

    def of_usd(self, usd: float) -> float:
        """Return what so many dollars are in this currency."""
        return float(Fraction(usd) / self.usd)

    def to_usd(self, amount: float) -> float:
        """Return what so much of this currency is in dollars."""
        return float(Fraction(amount) * self.usd)


def currency(name: str) -> Currency:
    """Return a currency by its code, such as `EUR`, or its sign.

    Raises:
        UnknownNameError: if no rate of it is known.
    """
    found = currencies().get(SIGNS.get(name, name))
    if found is None:
        raise UnknownNameError(
            f"no exchange rate of `{name}` is known", hint=suggestion(name, sorted(currencies()))
        )
    return found


@cache
def currencies() -> dict[str, Currency]:
    """Return every currency that has a rate, by code."""
    table = packaged_yaml("hardware_specs", "prices/currencies.yaml")
    per_eur = {code: Fraction(str(rate)) for code, rate in table["per_eur"].items()}
    return {
        code: Currency(code, per_eur["USD"] / rate, table["as_of"], table["source"])
        for code, rate in per_eur.items()
    }


def named_in(text: str) -> set[str]:
    """Return the codes of currencies other than dollars that a quantity is written in."""
    codes = {SIGNS[sign] for sign in SIGNS if sign in text}
    words = set(re.findall(r"(?<![A-Za-z])[kKMB]?([A-Z]{3})(?![A-Za-z])", text))
    return (codes | words & set(currencies())) - {"USD"}
