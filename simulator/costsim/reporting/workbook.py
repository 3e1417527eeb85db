"""A budget as a workbook of live formulas: change a quantity or a price, and every sum follows.

A leaf is quantity x unit price, to the cent, then in what the budget is kept in; a parent is the
sum of its children. Lines at the price of the plan refer to one cell of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from costsim.cells import clean
from costsim.costs.budget import CENTS_PER_USD, Line
from costsim.errors import SpecError
from costsim.planning.plans import Plan

_HEADER = ("Line", "Quantity", "Unit", "Unit price [USD]", "To the cent [USD]", "Amount [USD]")
_FIRST_ROW = 5
_PRICE = "$B$2"
_OF_THE_ABOVE = "of the above"  # unit of a line that is a share of those before it


def budget_workbook(plan: Plan[Any, Any]) -> bytes:
    """Return the budget of a plan, and its cash flow where it has one, as an XLSX file.

    Raises:
        SpecError: if openpyxl is not installed.
    """
    try:
        openpyxl: Any = importlib.import_module("openpyxl")
    except ImportError:
        raise SpecError(
            "workbooks need openpyxl, which is not installed",
            hint="pip install 'costsim[xlsx]', or write CSV (`-o budget.csv`)",
        ) from None
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Budget"
    _Budget(plan, sheet).write()
    if plan.accounts.months is not None:
        _cash_flow(plan, book.create_sheet("Cash flow"))
    out = BytesIO()
    book.save(out)
    return out.getvalue()


class _Budget:
    """Writes the lines of a budget from the total down."""

    def __init__(self, plan: Plan[Any, Any], sheet: Any) -> None:
        self.sheet, self.spent = sheet, plan.budget
        self.price = plan.price.usd_per_device_hour
        self.digits = 0 if plan.budget.step_cents == CENTS_PER_USD else 2
        self.row = _FIRST_ROW
        self.exact: list[str] = []  # cells of leaves so far, to the cent
        _words(sheet, 1, (plan.name,))
        _words(sheet, 2, ("A device for an hour [USD]",))
        sheet.cell(2, 2, self.price)
        _words(sheet, 2, (str(plan.price.price),), 7)
        _words(sheet, _FIRST_ROW - 1, (*_HEADER, "Note", "Source"))
        for letter, width in zip("ABCDEFGH", (34, 16, 16, 16, 18, 16, 60, 60), strict=True):
            sheet.column_dimensions[letter].width = width

    def write(self) -> None:
        """Write the whole tree."""
        self._line(self.spent.total, 0)

    def _line(self, line: Line, depth: int) -> str:
        """Write a line and what is below it; return the cell of its amount."""
        row, sheet = self.row, self.sheet
        self.row += 1
        _words(sheet, row, ("    " * depth + line.name,))
        note = f"not stated: {line.unstated}" if line.unstated else line.note
        _words(sheet, row, (note, line.source), 7)
        amount = sheet.cell(row, 6)
        amount.number_format = "#,##0" if self.digits == 0 else "#,##0.00"
        if line.children:
            cells = [self._line(child, depth + 1) for child in line.children]
            amount.value = f"={'+'.join(cells)}"
        elif line.quantity is not None and line.unit_price_usd is not None:
            sheet.cell(row, 2, line.quantity)
            _words(sheet, row, (line.unit,), 3)
            sheet.cell(row, 4, self._price_of(line))
            sheet.cell(row, 5, f"=ROUND(B{row}*D{row},2)")
            amount.value = f"=ROUND(E{row},{self.digits})"
            self.exact.append(f"E{row}")
        elif not line.unstated:
            amount.value = line.usd
        return f"F{row}"

    def _price_of(self, line: Line) -> float | str | None:
        if line.unit == _OF_THE_ABOVE and self.exact:
            return f"={'+'.join(self.exact)}"
        at_price = line.unit == "device-hours" and line.unit_price_usd == self.price
        return f"={_PRICE}" if at_price else line.unit_price_usd


def _cash_flow(plan: Plan[Any, Any], sheet: Any) -> None:
    """Write what each line takes in each month, with sums both ways."""
    months = plan.accounts.months
    if months is None:
        return
    _words(sheet, 1, ("Month", *(name for name, _ in months.lines), "All lines [USD]"))
    last = sheet.cell(1, len(months.lines) + 1).column_letter
    for at, month in enumerate(months.months):
        row = at + 2
        _words(sheet, row, (month,))
        for column, (_, cents) in enumerate(months.lines, 2):
            sheet.cell(row, column, cents[at] / CENTS_PER_USD)
        sheet.cell(row, len(months.lines) + 2, f"=SUM(B{row}:{last}{row})")
    end = len(months.months) + 2
    _words(sheet, end, ("Total",))
    for column in range(2, len(months.lines) + 3):
        letter = sheet.cell(1, column).column_letter
        sheet.cell(end, column, f"=SUM({letter}2:{letter}{end - 1})")


def _words(sheet: Any, row: int, texts: Sequence[str], column: int = 1) -> None:
    """Write texts as texts: what a scenario says is never run as a formula."""
    for place, text in enumerate(texts, column):
        if text:
            cell = sheet.cell(row, place)
            cell.value = clean(text)
            cell.data_type = "s"
