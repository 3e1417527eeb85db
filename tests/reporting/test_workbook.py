"""The budget as a workbook: recomputed by a spreadsheet of its own, it comes to the same total."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest

import costsim
from costsim.cli import main
from costsim.reporting.workbook import budget_workbook

openpyxl = pytest.importorskip("openpyxl", reason="the extra `xlsx` is not installed")
OFFICE = shutil.which("soffice") or shutil.which("libreoffice")
needs_office = pytest.mark.skipif(OFFICE is None, reason="LibreOffice is not installed")

FULL = (
    "start=2027-01-20",
    "experiments=40 %",
    "project={data: 123456.78 $, staff: 987654.32 $, contingency: 7 %, evaluation: 3 %}",
)


def recomputed(content: bytes, folder: Path):
    """The workbook as LibreOffice computes it, from formulas alone: openpyxl stores no values."""
    source = folder / "budget.xlsx"
    source.write_bytes(content)
    out, profile = folder / "out", folder / "profile"
    asked = [str(OFFICE), f"-env:UserInstallation={profile.as_uri()}", "--headless"]
    asked += ["--convert-to", "xlsx:Calc MS Excel 2007 XML", "--outdir", str(out), str(source)]
    subprocess.run(asked, check=True, capture_output=True, timeout=300)
    return openpyxl.load_workbook(out / "budget.xlsx", data_only=True)


@needs_office
def test_libreoffice_comes_to_the_same_totals(tmp_path: Path) -> None:
    plan = costsim.plan("gpt3", FULL)
    content = budget_workbook(plan)
    book = recomputed(content, tmp_path)
    assert book["Budget"]["F5"].value == plan.best.value("cost_usd")
    flow = book["Cash flow"]
    assert flow.cell(flow.max_row, flow.max_column).value == pytest.approx(plan.budget.usd)
    # The formulas live: twice the price of a device-hour is what planning at it says.
    changed = openpyxl.load_workbook(io.BytesIO(content))
    changed["Budget"]["B2"] = 2 * plan.price.usd_per_device_hour
    out = io.BytesIO()
    changed.save(out)
    (tmp_path / "twice").mkdir()
    twice = recomputed(out.getvalue(), tmp_path / "twice")
    price = f"price={2 * plan.price.usd_per_device_hour} $/h"
    assert twice["Budget"]["F5"].value == costsim.plan("gpt3", (*FULL, price)).budget.usd


def test_every_amount_is_a_formula_or_not_stated_and_texts_are_never_run() -> None:
    plan = costsim.plan("gpt3", ("name='=1+1'", "start=2027-01-20"))
    book = openpyxl.load_workbook(io.BytesIO(budget_workbook(plan)))
    sheet = book["Budget"]
    assert (sheet["A1"].value, sheet["A1"].data_type) == ("=1+1", "s")
    for row in range(5, sheet.max_row + 1):
        amount, note = sheet.cell(row, 6).value, sheet.cell(row, 7).value
        assert (amount is None) == str(note).startswith("not stated"), row
        assert amount is None or str(amount).startswith("=")
    assert book.sheetnames == ["Budget", "Cash flow"]


def test_the_suffix_chooses_it_and_it_needs_a_file(tmp_path: Path) -> None:
    target = tmp_path / "budget.xlsx"
    assert main(["plan", "gpt3", "-o", str(target)]) == 0
    assert openpyxl.load_workbook(target)["Budget"]["A1"].value
    assert main(["plan", "gpt3", "--format", "xlsx"]) == 2
