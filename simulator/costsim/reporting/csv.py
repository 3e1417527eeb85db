"""The tables of a report as CSV for spreadsheets: raw numbers, base units in the headers.

Tables, trees and the numbers behind charts follow each other: a line with the section and title, a
header, the rows, an empty line. Numbers are not scaled, and carry
twelve digits: processors differ in the sixteenth.
"""

from __future__ import annotations

import csv
import io
import math

from costsim.cells import inert
from costsim.reporting.model import (
    Block,
    Cell,
    Column,
    KeyFigures,
    Kind,
    Quantity,
    Report,
    Table,
    Text,
    Tree,
)
from costsim.reporting.registry import Rendered, RenderOptions
from costsim.reporting.tables import chart_table, tree_table

BASE_UNITS: dict[Kind, str] = {
    "bytes": "bytes",
    "bytes_per_s": "bytes/s",
    "flops": "FLOP",
    "flops_per_s": "FLOP/s",
    "seconds": "s",
    "usd": "USD",
    "ratio": "ratio",
}
_DIGITS = 12  # significant ones of a number


def render(report: Report, options: RenderOptions) -> Rendered:
    """Return every table of the report."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    answer = KeyFigures(report.answer.figures, "Answer")
    blocks: list[tuple[str, Block]] = [(report.title, answer)]
    blocks += [(section.title, block) for section in report.sections for block in section.blocks]
    first = True
    for section_title, block in blocks:
        table = _as_table(block)
        if table is None:
            continue
        if not first:
            writer.writerow([])
        first = False
        writer.writerow([_text(section_title), _text(table.title)])
        table = _units_beside(table)
        writer.writerow([_header(column) for column in table.columns])
        writer.writerows([_cell(cell) for cell in row] for row in table.rows)
    return Rendered(out.getvalue())


def _as_table(block: Block) -> Table | None:
    match block:
        case Text():
            return None
        case Table():
            return block
        case Tree():
            return tree_table(block)
        case KeyFigures():
            columns = (
                Column("Figure"),
                Column("Value"),
                Column("Low"),
                Column("High"),
                Column("Unit"),
            )
            rows = tuple(
                (f.label, f.value, f.low, f.high, f.unit or BASE_UNITS.get(f.kind, ""))
                for f in block.figures
            )
            return Table(block.title, columns, rows)
        case _:
            return chart_table(block)


def _units_beside(table: Table) -> Table:
    """Return the table with a unit column after each column whose cells have their own units."""
    mixed = {i for row in table.rows for i, cell in enumerate(row) if isinstance(cell, Quantity)}
    columns: list[Column] = []
    for index, column in enumerate(table.columns):
        columns += [Column(column.title), Column("Unit")] if index in mixed else [column]
    rows: list[tuple[Cell, ...]] = []
    for row in table.rows:
        cells: list[Cell] = []
        for index, (cell, column) in enumerate(zip(row, table.columns, strict=True)):
            cells.append(cell)
            if index in mixed:
                named = cell if isinstance(cell, Quantity) else column
                cells.append(named.unit or BASE_UNITS.get(named.kind, ""))
        rows.append(tuple(cells))
    return Table(table.title, tuple(columns), tuple(rows))


def _header(column: Column) -> str:
    unit = column.unit or BASE_UNITS.get(column.kind, "")
    return _text(f"{column.title} [{unit}]" if unit else column.title)


def _cell(cell: Cell) -> str | int | float:
    if isinstance(cell, Quantity):
        return _cell(cell.value)
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return float(f"{cell:.{_DIGITS}g}")
    return _text(cell) if isinstance(cell, str) else cell


def _text(text: str) -> str:
    return inert(text)
