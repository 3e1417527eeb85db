"""`costsim hardware`: what it prints, whole, and that machine formats hold raw numbers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest

from costsim.cli import main
from costsim.hardware import accelerator_ids, load_accelerator, system_ids

Golden = Callable[[str, str], None]


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["hardware", *arguments]) == code
    captured = capsys.readouterr()
    if code:
        assert captured.out == ""
        return captured.err
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("list", []),
        ("list-by-bf16", ["--sort", "bf16"]),
        ("systems", ["--systems"]),
        ("h100", ["h100"]),
        ("tpu-v5p", ["tpu-v5p"]),
        ("gb200-nvl72", ["gb200-nvl72"]),
        ("mi300x.csv", ["mi300x", "--format", "csv"]),
        ("dgx-a100-80.json", ["dgx-a100-80", "--format", "json"]),
    ],
)
def test_what_it_prints(
    name: str, arguments: list[str], golden: Golden, capsys: pytest.CaptureFixture[str]
) -> None:
    golden(f"hardware/{name}" + ("" if "." in name else ".txt"), run(capsys, *arguments))


def test_the_json_list_has_every_accelerator_in_si_units(
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = json.loads(run(capsys, "--format", "json"))
    assert content["schema_version"] == 1
    assert tuple(entry["id"] for entry in content["accelerators"]) == accelerator_ids()
    (h100,) = (e for e in content["accelerators"] if e["id"] == "nvidia-h100-sxm5-80gb")
    assert h100["peaks_flops_per_s"]["bf16"] == 989.4e12
    assert h100["memory_bandwidth_bytes_per_s"] == 3.35e12


def test_the_csv_list_has_raw_numbers_and_empty_cells(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(run(capsys, "--format", "csv"))))
    assert tuple(row["id"] for row in rows) == accelerator_ids()
    (v100,) = (row for row in rows if row["id"] == "nvidia-v100-sxm2-32gb")
    assert v100["peak_bf16_flops_per_s"] == ""
    assert float(v100["peak_fp16_flops_per_s"]) == 125e12


@pytest.mark.parametrize("form", ["json", "csv"])
def test_the_list_of_systems_is_whole(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "--systems", "--format", form)
    for identity in system_ids():
        assert identity in text


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_detail_holds_every_figure(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "trainium2", "--format", form)
    for path, figure in load_accelerator("trainium2").figures.items():
        assert path in text
        assert figure.basis in text


def test_sorting_puts_the_largest_first_and_the_unknown_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = run(capsys, "--sort", "fp8").splitlines()[2:]
    ids = [line.split()[0] for line in lines[: len(accelerator_ids())]]
    peaks = [load_accelerator(name).peaks_flops_per_s.get("fp8", 0) for name in ids]
    assert peaks == sorted(peaks, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a100"], 1, "`a100` means several accelerators"),
        (["h1000"], 1, "did you mean `h100`"),
        (["h100", "--systems"], 2, "--systems lists all systems"),
        (["--sort", "price"], 2, "price"),
    ],
)
def test_errors(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in run(capsys, *arguments, code=code)
