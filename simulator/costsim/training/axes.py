"""Axes of a strategy: what each may be, what a search considers, how it is said; declared once.

A field of `costsim.training.strategy.Strategy` that is made by `axis` is a line of the table.
Columns, choices, keys of a scenario, what is remembered and how a strategy is told follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis, as `axis` declares it.

    Attributes:
        default: its value where a strategy says nothing.
        says: what it is, for schemas; empty where no scenario may choose it.
        values: all it may be: names, numbers or switches; none where any whole number above 0.
        searched: what a search considers where nothing is chosen; None = every legal value.
        crossed: whether every division may have any of its values.
        inside: whether it divides the inside of layers, whose profile then depends on it.
        reduces: whether collectives of weights and gradients depend on it.
        said: how a value other than the default is told, with `{}` for it, or by value.
        degree: whether that is part of how devices are divided.
        always: whether the default is told too.
        told: its place among what is told.
        machinery: its weight in ties: what adds machinery loses against what does not.
    """

    default: Any
    says: str = ""
    values: tuple[Any, ...] = ()
    searched: tuple[Any, ...] | None = None
    crossed: bool = False
    inside: bool = False
    reduces: bool = True
    said: str | Mapping[Any, str] = ""
    degree: bool = False
    always: bool = False
    told: int = 0
    machinery: int = 0

    @property
    def named(self) -> bool:
        """Whether its values are names, for which numbers stand in columns."""
        return bool(self.values) and isinstance(self.values[0], str)

    def number(self, value: Any) -> float:
        """Return the number that stands for a value in columns."""
        return float(self.values.index(value) if self.named else value)

    def value(self, number: float) -> Any:
        """Return the value that a number of columns stands for."""
        if self.named:
            return self.values[int(number)]
        return type(self.default)(number)

    def telling(self, value: Any) -> str:
        """Return how a value is told; empty where it need not be."""
        if value == self.default and not self.always:
            return ""
        return self.said.format(value) if isinstance(self.said, str) else self.said[value]


def axis(
    default: T,
    says: str = "",
    *,
    values: Sequence[Any] = (),
    searched: Sequence[Any] | None = None,
    said: str | Mapping[Any, str] = "",
    **more: Any,
) -> T:
    """Return a field of a strategy that is an axis; `more` are the other attributes of `Axis`."""
    known = None if searched is None else tuple(searched)
    declared = Axis(default, says, tuple(values), known, said=said, **more)
    return field(default=default, metadata={"axis": declared})
