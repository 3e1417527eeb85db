"""Reading the catalogue tables: CSV that people edit, checked as it is read.

A table is small (the largest provider has some 600 rows), so it is read whole with the standard
library; every fault of a file is collected and raised once, with its line.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TypeVar

from costsim.errors import CatalogError, Location, Problem

Record = TypeVar("Record")


class Row:
    """One line of a table: cells by column name, and typed readers that note what is wrong."""

    __slots__ = ("_cells", "_columns", "_problems", "location")

    def __init__(
        self,
        cells: list[str],
        columns: dict[str, int],
        location: Location,
        problems: list[Problem],
    ) -> None:
        self._cells = cells
        self._columns = columns
        self._problems = problems
        self.location = location

    def text(self, column: str) -> str:
        """Return the cell of `column` as written."""
        return self._cells[self._columns[column]]

    def number(self, column: str) -> float:
        """Return the cell of `column` as a finite positive number."""
        cell = self.text(column)
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not (0 < value < math.inf):
            self.fault(f"{column}: {cell!r} is not a positive number")
        return value

    def optional_number(self, column: str) -> float | None:
        """Return the cell of `column` as a finite positive number, None where it is empty."""
        return self.number(column) if self.text(column) else None

    def count(self, column: str) -> int:
        """Return the cell of `column` as a whole number of at least one."""
        cell = self.text(column)
        if cell.isdecimal() and int(cell) > 0:
            return int(cell)
        self.fault(f"{column}: {cell!r} is not a whole number of at least 1")
        return 1

    def date(self, column: str) -> str:
        """Return the cell of `column` as an ISO date, of which day or month may be left out."""
        cell = self.text(column)
        try:
            earliest_day(cell)
        except ValueError:
            self.fault(f"{column}: {cell!r} is not a date such as 2026-07-20, 2026-07 or 2026")
        return cell

    def one_of(self, column: str, allowed: tuple[str, ...]) -> str:
        """Return the cell of `column`, which must be one of `allowed`."""
        cell = self.text(column)
        if cell not in allowed:
            self.fault(f"{column}: {cell!r} is not one of {', '.join(allowed)}")
        return cell

    def fault(self, message: str) -> None:
        """Note that this row is wrong; the table raises when it has been read."""
        self._problems.append(Problem(message, self.location))


def read_table(
    path: Path, columns: tuple[str, ...], record: Callable[[Row], Record]
) -> tuple[Record, ...]:
    """Read the CSV at `path`, one `record` a row.

    Args:
        path: a UTF-8 CSV with a header.
        columns: the columns that the header must name; others are ignored.
        record: makes the value of one row.

    Raises:
        CatalogError: with every fault of the file and its line.
    """
    problems: list[Problem] = []
    records: list[Record] = []
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines)
        header = next(reader, list[str]())
        missing = [column for column in columns if column not in header]
        if missing:
            where = Location(str(path), 1)
            raise CatalogError(f"missing column {', '.join(missing)}", location=where)
        places = {column: header.index(column) for column in columns}
        for cells in reader:
            where = Location(str(path), reader.line_num)
            if len(cells) != len(header):
                problems.append(Problem(f"{len(cells)} cells where {len(header)} belong", where))
                continue
            records.append(record(Row(cells, places, where, problems)))
    if problems:
        raise CatalogError(problems)
    return tuple(records)


def earliest_day(written: str) -> date:
    """Return the first day that `written` (a date, a month or a year) can mean.

    Raises:
        ValueError: if it is no such date.
    """
    parts = [int(part) for part in written.split("-")]
    if len(parts) < 3:
        return date(parts[0], parts[1] if len(parts) == 2 else 1, 1)
    return date.fromisoformat(written)


def latest_day(written: str) -> date:
    """Return the last day that `written` (a date, a month or a year) can mean."""
    parts = [int(part) for part in written.split("-")]
    if len(parts) == 1:
        return date(parts[0], 12, 31)
    if len(parts) == 2:
        year, month = parts
        following = date(year + month // 12, month % 12 + 1, 1)
        return date.fromordinal(following.toordinal() - 1)
    return date.fromisoformat(written)
