from __future__ import annotations

from pathlib import Path

import pytest

from costsim.errors import SpecError
from costsim.validation.runs import read_runs
from validation.runs_sample import COLUMNS, ROW, text_of, written


def test_empty_cells_are_unknown_and_not_zero(tmp_path: Path) -> None:
    (run,) = read_runs(written(tmp_path, ROW | {"vp": "", "interconnect": ""})).runs
    assert "vp" not in run.number
    assert "interconnect" not in run.text
    assert run.number["layers"] == 48
    assert run.group == "22b"


def test_a_row_without_a_group_is_its_own(tmp_path: Path) -> None:
    (run,) = read_runs(written(tmp_path, ROW | {"group": ""})).runs
    assert run.group == run.id


@pytest.mark.parametrize("column", ["layers", "seq_len", "accelerator_id", "global_batch"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    left = tuple(name for name in COLUMNS if name != column)
    with pytest.raises(SpecError) as caught:
        read_runs(written(tmp_path, ROW, columns=left))
    (problem,) = caught.value.problems
    assert f"missing column `{column}`" in problem.message
    assert str(problem.location) == f"{tmp_path / 'runs.csv'}:1"


def test_a_misspelt_column_is_suggested(tmp_path: Path) -> None:
    text = text_of(ROW).replace(",layers,", ",layer,")
    path = tmp_path / "runs.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match="did you mean `layer`"):
        read_runs(path)


def test_a_column_that_is_not_read_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text_of(ROW).replace(",tp,", ",tpp,"), encoding="utf-8")
    (warning,) = read_runs(path).warnings
    assert "`tpp` is not known" in warning.message
    assert warning.hint is not None
    assert "`tp`" in warning.hint


def place_of(path: Path, text: str, line: int) -> tuple[int, int]:
    row = path.read_text(encoding="utf-8").splitlines()[line - 1]
    return line, row.index(text) + 1


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("step_time_s", "fast", "is not a number"),
        ("layers", "4.5", "is not a whole number"),
        ("global_batch", "-4", "is not a whole number"),
        ("step_time_s", "-1.5", "is negative"),
        ("step_time_s", "inf", "finite"),
        ("n_devices", "0000", "whole number above 0"),
        ("accelerator_id", "nvidia-a1000", "unknown accelerator"),
    ],
)
def test_a_bad_cell_is_placed_by_row_and_column(
    tmp_path: Path, column: str, cell: str, says: str
) -> None:
    path = written(tmp_path, ROW, ROW | {"id": "bad", column: cell}, ROW | {"id": "good"})
    file = read_runs(path)
    (problem,) = file.problems
    assert f"column `{column}`" in problem.message
    assert says in problem.message
    assert problem.location is not None
    assert (problem.location.line, problem.location.column) == place_of(path, cell, 3)
    assert [bool(run.fault) for run in file.runs] == [False, True, False]


def test_the_place_holds_behind_quotes_commas_and_line_ends(tmp_path: Path) -> None:
    odd = ROW | {"model": 'a "quoted",\nmodel', "step_time_s": "soon"}
    path = written(tmp_path, odd)
    (problem,) = read_runs(path).problems
    assert problem.location is not None
    assert (problem.location.line, problem.location.column) == place_of(path, "soon", 3)


def test_a_duplicate_id_names_the_first(tmp_path: Path) -> None:
    file = read_runs(written(tmp_path, ROW, ROW))
    (problem,) = file.problems
    assert "duplicate id `gpt-22b-selective`, first used in line 2" in problem.message
    assert [bool(run.fault) for run in file.runs] == [False, True]


def test_a_row_of_other_length_is_a_fault(tmp_path: Path) -> None:
    path = written(tmp_path, ROW)
    path.write_text(path.read_text(encoding="utf-8") + "short,row\n", encoding="utf-8")
    assert "2 cells in a file of" in read_runs(path).problems[0].message


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("id,model,config,accelerator_id,input_tokens,output_tokens,concurrency", "inference"),
        ("id,model,mode,accelerator_id,batch,img_size,samples_per_s,gmacs", "vision"),
        (",".join(COLUMNS), "training"),
    ],
)
def test_the_kind_is_known_by_the_columns(tmp_path: Path, header: str, kind: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(header + "\n", encoding="utf-8")
    assert read_runs(path).kind == kind


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"name,price\na,1\n", "no kind of runs"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"id,id\n", "named twice"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=says):
        read_runs(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        read_runs(tmp_path / "none.csv")
