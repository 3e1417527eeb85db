from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from costsim.cli import main
from validation.runs_sample import ROW, written


def test_rows_with_mistakes_are_listed_and_the_others_predicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(
        tmp_path,
        ROW,
        ROW | {"id": "text", "hidden": "wide"},
        ROW | {"id": "device", "accelerator_id": "nvidia-a101"},
        ROW,
        ROW | {"id": "last"},
    )
    assert main(["validate", str(path), "--format", "json"]) == 1
    output = capsys.readouterr()
    rows = {(row["id"], row["status"]) for row in json.loads(output.out)["rows"]}
    assert ("gpt-22b-selective", "scored") in rows
    assert ("last", "scored") in rows
    assert ("text", "unsupported") in rows
    assert ("device", "unsupported") in rows
    for told in ("column `hidden`", "column `accelerator_id`", "duplicate id", f"{path}:3:"):
        assert told in output.err


def test_a_clean_file_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(written(tmp_path, ROW)), "--format", "json"]) == 0
    output = capsys.readouterr()
    document = json.loads(output.out)
    assert output.err == ""
    assert document["summary"]["n"] == 1
    (step, memory) = document["rows"]
    assert step["measured"] == 1.10
    assert step["low"] < step["predicted"] < step["high"]
    assert memory["status"] == "predicted"
    assert memory["measured"] is None


def test_output_is_the_same_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--format", "json"]) == 0
    first = capsys.readouterr().out
    assert main(["validate", "--format", "json"]) == 0
    assert capsys.readouterr().out == first


def test_rows_as_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(written(tmp_path, ROW)), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["quantity"] for row in rows] == ["step_time_s", "memory_gb_per_gpu"]
    assert rows[1]["measured"] == ""


@pytest.mark.parametrize("suffix", ["md", "html"])
def test_a_report_is_written(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"report.{suffix}"
    assert main(["validate", str(written(tmp_path, ROW)), "-o", str(target)]) == 0
    assert "megatron-recompute" in target.read_text(encoding="utf-8")


def test_without_a_file_packaged_runs_are_scored(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate"]) == 0
    text = capsys.readouterr().out
    assert "Half of the predictions are within" in text
    assert "Largest misses" in text


def test_a_missing_column_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = tuple(name for name in ROW if name != "heads")
    assert main(["validate", str(written(tmp_path, ROW, columns=columns))]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "missing column `heads`" in output.err


def test_image_models_without_totals_say_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "vision.csv"
    path.write_text(
        "id,model,mode,accelerator_id,batch,gmacs,samples_per_s\n"
        "a,resnet50,infer,nvidia-rtx-3090,256,4.1,2500\n",
        encoding="utf-8",
    )
    assert main(["validate", str(path), "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["status"] == "unsupported"
    assert "`params_M` is empty" in row["reason"]
