"""The budget: a tree of lines whose printed amounts add up.

Amounts are rounded once, where they arise: every leaf to the budget's step (a dollar, or a cent
below $1,000), halves upward as spreadsheets do; every parent is the sum of its rounded children.
What a reader adds up with a pencil is what the page says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from costsim.costs.prices import Price
from costsim.errors import Problem, SpecError

Paid: TypeAlias = Literal["before", "during", "after"]
"""When a line is paid, against the run or the months of a service that it belongs to."""

NOT_USED = "Devices not used"
"""The line of devices that are rented, in whole instances, and stand idle."""

CENTS_PER_USD = 100
WHOLE_DOLLARS_FROM_USD = 1000.0
"""Total from which a budget is kept in whole dollars; `format_usd` prints none of its cents."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `quantity` x `unit_price_usd`, or the sum of its children.

    `usd_cents` is the amount in whole cents, so that sums are exact; `usd` is the same in dollars.
    `unstated` is the key of the scenario that would state a line which is not budgeted.
    """

    name: str
    usd_cents: int
    quantity: float | None = None
    unit: str = ""
    unit_price_usd: float | None = None
    note: str = ""
    source: str = ""
    children: tuple[Line, ...] = ()
    unstated: str = ""
    paid: Paid = "during"

    def __post_init__(self) -> None:
        """Refuse a parent that is not the sum of its children."""
        total = sum(child.usd_cents for child in self.children)
        if self.children and total != self.usd_cents:
            raise ValueError(f"{self.name}: {self.usd_cents} cents, children sum to {total}")

    @property
    def usd(self) -> float:
        """The amount in dollars."""
        return self.usd_cents / CENTS_PER_USD

    def to_dict(self) -> dict[str, Any]:
        """Return the line as JSON values; keys end in their unit, empty ones are left out."""
        entry: dict[str, Any] = {"name": self.name}
        if self.quantity is not None:
            entry |= {"quantity": self.quantity, "unit": self.unit}
        if self.unit_price_usd is not None:
            entry["unit_price_usd"] = self.unit_price_usd
        entry["usd"] = self.usd
        entry |= {key: text for key, text in (("note", self.note), ("source", self.source)) if text}
        if self.unstated:
            entry["not_budgeted"] = self.unstated
        if self.children:
            entry["children"] = [child.to_dict() for child in self.children]
        return entry


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget: its total line, and what it is kept in (1 or 100 cents)."""

    total: Line
    step_cents: int

    def __repr__(self) -> str:
        return f"<Budget {self.total.name!r}: ${self.usd:,.2f} in {len(self.lines)} lines>"

    @property
    def usd(self) -> float:
        """The total in dollars."""
        return self.total.usd

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines under the total."""
        return self.total.children

    def to_dict(self) -> dict[str, Any]:
        """Return the budget as JSON values."""
        return {"total_usd": self.usd, "lines": [line.to_dict() for line in self.lines]}


def leaf(
    name: str,
    quantity: float,
    unit: str,
    unit_price_usd: float,
    *,
    note: str = "",
    source: str = "",
    paid: Paid = "during",
) -> Line:
    """Return a priced line, to the cent.

    Raises:
        SpecError: if quantity or price is negative or not finite.
    """
    bad = [
        Problem(f"{name}: {what} of {value} is not a number of 0 or more")
        for what, value in (("quantity", quantity), ("price", unit_price_usd))
        if not 0 <= value < math.inf
    ]
    if bad:
        raise SpecError(bad)
    cents = math.floor(quantity * unit_price_usd * CENTS_PER_USD + 0.5)
    return Line(name, cents, quantity, unit, unit_price_usd, note, source, paid=paid)


def group(name: str, children: tuple[Line, ...], *, note: str = "") -> Line:
    """Return a line that is the sum of `children`."""
    return Line(name, sum(child.usd_cents for child in children), note=note, children=children)


def budget(name: str, lines: tuple[Line, ...]) -> Budget:
    """Return the budget of `lines`, in whole dollars from $1,000 in total, else in cents."""
    total = group(name, lines)
    whole = total.usd >= WHOLE_DOLLARS_FROM_USD
    step_cents = CENTS_PER_USD if whole else 1
    return Budget(_rounded(total, step_cents), step_cents)


def compute_line(
    device_hours: float,
    price: Price,
    *,
    goodput_ratio: float,
    goodput_note: str,
    idle_hours: float = 0.0,
) -> Line:
    """Return what the devices of a training run cost.

    Args:
        device_hours: accelerators times hours of useful training.
        price: price of a device-hour, with its provenance.
        goodput_ratio: useful over paid device-hours (failures, restarts, lost steps).
        goodput_note: what that ratio rests on.
        idle_hours: of devices that are rented, in whole instances, and not used.

    Raises:
        SpecError: if a ratio, a quantity or a price is out of range.
    """
    if not 0 < goodput_ratio <= 1:
        raise SpecError(f"a goodput of {goodput_ratio} is not above 0 and at most 1")
    rate, hours = price.usd_per_device_hour, "device-hours"
    lost_hours = device_hours * (1 / goodput_ratio - 1)
    lines = [
        leaf("Useful training", device_hours, hours, rate, note=str(price), source=price.source)
    ]
    if lost_hours > 0:
        lines.append(leaf("Failures and restarts", lost_hours, hours, rate, note=goodput_note))
    if idle_hours > 0:
        note = f"{price.instance_type} has {price.devices} devices and is rented whole"
        lines.append(leaf(NOT_USED, idle_hours, hours, rate, note=note))
    return group("Compute", tuple(lines))


def leaves(line: Line) -> tuple[Line, ...]:
    """Return the lines under `line` that have no children, or itself."""
    if not line.children:
        return (line,)
    return tuple(leaf for child in line.children for leaf in leaves(child))


def _rounded(line: Line, step_cents: int) -> Line:
    """Round the leaves to `step_cents` and sum upward."""
    if not line.children:
        return replace(
            line, usd_cents=(line.usd_cents + step_cents // 2) // step_cents * step_cents
        )
    children = tuple(_rounded(child, step_cents) for child in line.children)
    total = sum(child.usd_cents for child in children)
    return replace(line, usd_cents=total, children=children)
