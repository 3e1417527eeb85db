"""What becomes of the cells of a row: which were asked for, and what about them is in doubt.

Nothing that a row gives is dropped in silence. Reading a cell notes that it was asked for; cells
that configure a run and that nothing asked for are named, and so is every word that was not
understood. Each doubt widens the interval by a width of its own kind, which add in quadrature.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from math import exp, hypot, log
from typing import Literal, TypeAlias, TypeVar

from costsim.resources import packaged_yaml

T = TypeVar("T")

Ground: TypeAlias = Literal["unused", "unknown", "contradiction", "parameters"]
"""Why a row is in doubt: a cell that no formula takes, words that nobody knows, two cells that
disagree, a model that has not the parameters that are stated."""
SAID: Mapping[Ground, str] = {
    "unused": "not used",
    "unknown": "not known",
    "contradiction": "contradictory",
    "parameters": "parameters differ",
}
_OF_MEMORY = frozenset(("memory_kind",))  # columns that tell about no other quantity


@dataclass(frozen=True, slots=True)
class Doubt:
    """`width` is of the logarithm of what is predicted; None, the ground's own."""

    ground: Ground
    text: str
    column: str = ""
    width: float | None = None

    def concerns(self, quantity: str) -> bool:
        """Return whether a figure of `quantity` may be off by it."""
        return self.column not in _OF_MEMORY or quantity.startswith("memory")


@dataclass(slots=True)
class Account:
    """Columns of a row that were asked for, and its doubts."""

    asked: set[str] = field(default_factory=set[str])
    doubts: dict[str, Doubt] = field(default_factory=dict[str, Doubt])

    def note(
        self, ground: Ground, text: str, *, column: str = "", width: float | None = None
    ) -> None:
        """Note a doubt; the same text counts once."""
        self.doubts.setdefault(text, Doubt(ground, text, column, width))


class Cells(Mapping[str, T]):
    """Cells of a row by column, which notes in an account which were asked for."""

    __slots__ = ("_account", "_values")

    def __init__(self, values: Mapping[str, T], account: Account) -> None:
        self._values, self._account = values, account

    def __getitem__(self, column: str) -> T:
        self._account.asked.add(column)
        return self._values[column]

    def __contains__(self, column: object) -> bool:
        return column in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def unasked(self) -> list[tuple[str, T]]:
        """Return the cells that nothing asked for."""
        asked = self._account.asked
        return [(name, value) for name, value in self._values.items() if name not in asked]


def said(doubts: Collection[Doubt]) -> str:
    """Return the doubts as one text, by ground: "not used: graphs `none`; not known: …"."""
    texts: dict[Ground, list[str]] = {}
    for doubt in doubts:
        texts.setdefault(doubt.ground, []).append(doubt.text)
    return "; ".join(f"{SAID[ground]}: {', '.join(told)}" for ground, told in texts.items())


def width_of(doubts: Collection[Doubt]) -> float:
    """Return the width of the logarithm that doubts add; those of one ground count once.

    From `hardware_specs/calibration/doubts.yaml`, where each is by how much further rows in that
    doubt lie from their predictions than others do.
    """
    widths: dict[str, float] = packaged_yaml("hardware_specs", "calibration/doubts.yaml")["widths"]
    by: dict[Ground, float] = {}
    for doubt in doubts:
        width = widths[doubt.ground] if doubt.width is None else doubt.width
        by[doubt.ground] = max(by.get(doubt.ground, 0.0), width)
    return hypot(*by.values())


def widened(low: float, value: float, high: float, width: float) -> tuple[float, float]:
    """Return the limits of an interval that `width` of the logarithm is added to in quadrature."""
    if not width or not 0 < low <= value <= high:
        return low, high
    return (
        value * exp(-hypot(log(value / low), width)),
        value * exp(hypot(log(high / value), width)),
    )
