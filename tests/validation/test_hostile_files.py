"""Files that are broken on purpose: one clear error with its place, or a named fault of a row."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from costsim.cli import main
from costsim.errors import SpecError
from costsim.validation import runs
from costsim.validation.runs import read_runs
from validation.runs_sample import ROW, text_of, written


@pytest.mark.parametrize("cell", ["nan", "NaN", "inf", "-inf", "1e400", "1_000", "0x10", "١٢"])
def test_odd_numbers_are_faults(tmp_path: Path, cell: str) -> None:
    path = written(tmp_path, ROW | {"step_time_s": cell}, ROW | {"id": "good"})
    found = read_runs(path)
    assert [bool(run.fault) for run in found.runs] == [True, False]
    assert "column `step_time_s`" in found.problems[0].message
    assert main(["validate", str(path), "--format", "json"]) == 1


def test_output_is_json_of_finite_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, ROW | {"n_devices": "1e400"}, ROW | {"id": "b", "seq_len": "1e14"})
    main(["validate", str(path), "--format", "json"])

    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(capsys.readouterr().out, parse_constant=refuse)


@pytest.mark.parametrize(
    ("content", "place", "says"),
    [
        (b"id,global_batch\n\xff\xfe", "2:1", "UTF-8"),
        (b"id,global_batch\na\x00b,1\n", "2:2", "NUL"),
        (b'id,global_batch\n"never closed,1\n', "2", "not a CSV"),
    ],
)
def test_a_file_that_is_no_csv_is_one_error_with_its_place(
    tmp_path: Path, content: bytes, place: str, says: str
) -> None:
    path = tmp_path / "runs.csv"
    header = text_of(ROW).splitlines()[0].encode()
    path.write_bytes(content.replace(b"id,global_batch", header))
    with pytest.raises(SpecError, match=says) as caught:
        read_runs(path)
    (problem,) = caught.value.problems
    assert str(problem.location).startswith(f"{path}:{place}")


def test_cells_rows_and_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, ROW | {"model": "x" * 200_000})
    with pytest.raises(SpecError, match="field larger"):
        read_runs(path)
    monkeypatch.setattr(runs, "_FILE_BYTES", 1000)
    with pytest.raises(SpecError, match="larger than"):
        read_runs(path)


def test_ragged_rows_are_faults(tmp_path: Path) -> None:
    path = written(tmp_path, ROW)
    text = path.read_text(encoding="utf-8")
    path.write_text(text + text.splitlines()[1] + ",more,cells\n", encoding="utf-8")
    found = read_runs(path)
    assert "cells in a file of" in found.runs[1].fault


def test_formulas_of_spreadsheets_are_inert_in_csv(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = ("=cmd|'/C calc'!A0", "+1", "-1", "@SUM(A1)")
    path = written(tmp_path, *(ROW | {"id": name} for name in ids))
    assert main(["validate", str(path), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["id"] for row in rows} == {f"'{name}" for name in ids}


def test_many_mistakes_are_counted_not_all_listed(tmp_path: Path) -> None:
    path = written(tmp_path, *(ROW | {"id": f"r{i}", "tp": "x"} for i in range(300)))
    found = read_runs(path)
    assert len(found.runs) == 300
    assert len(found.problems) <= 201
    assert "300 rows" in found.problems[-1].message
