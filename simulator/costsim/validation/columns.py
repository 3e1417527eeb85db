"""Columns of runs files: what a cell holds, and whether it configures, measures or only notes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Literal, TypeAlias

from costsim.architectures.huggingface.config import MAX_LAYERS

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.I | re.A)
_NO_NUMBER = re.compile(r"[+-]?(nan|inf|infinity)", re.I)
_LARGEST = 1e15  # beyond any count or measurement of a run
_MOST = {"layers": MAX_LAYERS}
_SHOWN = 40  # characters of a cell in a message


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a kind of rows.

    Attributes:
        type: what a cell holds; "whole" numbers are above 0.
        role: "given" cells configure a run, "measured" ones only score it, "note" ones tell people
            where it comes from.
    """

    name: str
    type: Literal["text", "number", "whole"]
    role: Literal["given", "measured", "note"]

    def parse(self, cell: str) -> str | float:
        """Return the value of a cell that is not empty.

        Raises:
            ValueError: if it holds none, which the message says.
        """
        if self.type == "text":
            return cell
        shown = f"`{cell[:_SHOWN]}`"
        if not _NUMBER.fullmatch(cell) and not _NO_NUMBER.fullmatch(cell):
            raise ValueError(f"{shown} is not a number")
        value = float(cell)
        if not isfinite(value) or abs(value) > _LARGEST:
            raise ValueError(f"{shown} is not a finite number in range")
        if value > _MOST.get(self.name, _LARGEST):
            raise ValueError(f"{shown} is more than {_MOST[self.name]:,}")
        if self.type == "whole" and (value < 1 or value != int(value)):
            raise ValueError(f"{shown} is not a whole number above 0")
        if value < 0:
            raise ValueError(f"{shown} is negative")
        return value


Columns: TypeAlias = Mapping[str, Column]


def columns(
    *,
    text: str = "",
    number: str = "",
    whole: str = "",
    measured: str = "",
    measured_text: str = "",
    note: str = "",
) -> Columns:
    """Return columns by name, from names separated by blanks; `measured` ones are numbers."""
    found = [Column(name, "text", "given") for name in text.split()]
    found += [Column(name, "number", "given") for name in number.split()]
    found += [Column(name, "whole", "given") for name in whole.split()]
    found += [Column(name, "number", "measured") for name in measured.split()]
    found += [Column(name, "text", "measured") for name in measured_text.split()]
    found += [Column(name, "text", "note") for name in note.split()]
    return {column.name: column for column in found}
