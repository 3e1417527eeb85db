"""Figures that explain themselves: a value with its interval, formula, terms and sources."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from costsim.units import format_bytes, format_duration, format_si, format_usd

LEVEL = 0.8
"""Share of measured cases that an interval is expected to hold, where none is stated."""


@dataclass(frozen=True, slots=True)
class Term:
    """What goes into a figure: its name in the formula, its value in `unit`, and what it is."""

    name: str
    value: float | str
    unit: str = ""
    meaning: str = ""

    def __str__(self) -> str:
        return said(self.value, self.unit)


@dataclass(frozen=True, slots=True)
class Mover:
    """What one uncertain input alone makes of a figure: at its low and at its high end."""

    name: str
    low: float
    high: float
    meaning: str = "at the ends of its own interval, all else as it is"

    @property
    def swing(self) -> float:
        """How far apart the two are, in the figure's unit."""
        return abs(self.high - self.low)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a plan.

    Attributes:
        value: in `unit`.
        unit: as names end in it: s, days, usd, bytes, ratio, kwh, ...; "" is a count.
        low: end of the interval below; None where nothing says how far it may be off.
        high: end of the interval above.
        level: share of measured cases between them.
        meaning: what it is, in a few words.
        formula: from the names of `terms`, as it was computed.
        terms: what goes in.
        parts: of which it is the sum, where there are any.
        movers: what makes it uncertain, the largest first: where each alone takes it.
        sources: keys of the plan's sources, or a source in words.
    """

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    level: float = LEVEL
    meaning: str = ""
    formula: str = ""
    terms: tuple[Term, ...] = ()
    parts: tuple[Term, ...] = ()
    movers: tuple[Mover, ...] = ()
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        return said(self.value, self.unit)

    def __repr__(self) -> str:
        between = f" ({self.interval})" if self.interval else ""
        return f"<Figure {self}{between}>"

    @property
    def numbers(self) -> str:
        """The formula with its numbers put in."""
        values = {term.name: str(term) for term in self.terms}
        return re.sub(r"[A-Za-z_]\w*", lambda name: values.get(name[0], name[0]), self.formula)

    @property
    def interval(self) -> str:
        """The interval in words; nothing where there is none."""
        if self.low is None or self.high is None:
            return ""
        low, high = said(self.low, self.unit), said(self.high, self.unit)
        return f"{low} to {high} in {self.level * 10:g} of 10 cases"

    def probability_at_most(self, limit: float) -> float | None:
        """Return the probability of the figure being at most `limit`; None without an interval.

        Log-normal on either side of the value, as its interval says.
        """
        if self.low is None or self.high is None or self.value <= 0:
            return None
        if limit <= 0:
            return 0.0
        below = limit < self.value
        end = self.low if below else self.high
        if end == self.value:
            return 0.0 if below else 1.0
        edge = NormalDist().inv_cdf((1 + self.level) / 2)
        width = abs(math.log(end / self.value)) / edge
        return NormalDist().cdf(math.log(limit / self.value) / width)

    def quantile(self, probability: float) -> float:
        """Return what the figure is at most with a probability; its value without an interval."""
        normal = NormalDist()
        z = normal.inv_cdf(probability) / normal.inv_cdf((1 + self.level) / 2)
        end = self.high if z > 0 else self.low
        if not end or self.value <= 0:
            return self.value
        return self.value * (end / self.value) ** abs(z)

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as plain values."""
        return {
            "value": self.value,
            "unit": self.unit,
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "meaning": self.meaning,
            "formula": self.formula,
            "numbers": self.numbers,
            "terms": [_plain(term) for term in self.terms],
            "parts": [_plain(term) for term in self.parts],
            "movers": [
                {"name": one.name, "low": one.low, "high": one.high, "meaning": one.meaning}
                for one in self.movers
            ],
            "sources": list(self.sources),
        }


def _plain(term: Term) -> dict[str, Any]:
    return {"name": term.name, "value": term.value, "unit": term.unit, "meaning": term.meaning}


def said(value: float | str, unit: str) -> str:
    """Return a value as people read it."""
    if isinstance(value, str):
        return value
    match unit:
        case "s":
            return format_duration(value)
        case "days":
            return format_duration(value * 86_400)
        case "usd":
            return format_usd(value)
        case "bytes":
            return format_bytes(value)
        case "ratio":
            return f"{value:.1%}"
        case "kwh":
            return format_si(value * 1e3, "Wh")
        case "t":
            return f"{value:{'.1f' if value >= 1 else '.3g'}} t"
        case "m3":
            return f"{value:,.0f} m³" if value >= 100 else f"{value:.3g} m³"
        case "" | "device-hours":
            text = f"{value:,.0f}" if value == int(value) or value >= 1e3 else f"{value:.5g}"
            return text if not unit else f"{text} {unit}"
        case _:
            return format_si(value, unit)
