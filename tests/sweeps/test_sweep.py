from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest

import costsim
from costsim.cli import main
from costsim.errors import InfeasiblePlanError, SpecError
from costsim.sweeps.journal import Journal
from costsim.sweeps.study import read_study


def test_each_point_is_the_plan_with_the_same_settings(study: Path) -> None:
    found = costsim.sweep(study)
    keys = ("price", "workload.global_batch", "workload.tokens")
    compared, refused = 0, list[tuple[str, bool]]()
    for row in found:
        settings = [f"{key}={json.dumps(row[key])}" for key in keys]
        try:
            planned = costsim.plan(study.parent / "base.yaml", settings)
        except SpecError as error:
            refused.append((row["status"], row["error"].startswith(error.problems[0].message)))
            continue
        best = planned.best.to_dict()
        assert row["cost_usd"] == planned.best.value("cost_usd")
        assert (row["days"], row["system"]) == (best["days"], best["system"])
        assert row["strategy.dp"] == best["strategy"]["dp"]
        assert (row["status"] == "over_limits") == (planned.best.value("cost_usd") > 100)
        compared += 1
    assert compared == 12
    assert refused == [("error", True)] * 12
    assert found.points == len(found.rows()) == found.total == 24
    assert sum(found.statuses.values()) == 24


def test_what_fits_nowhere_is_a_row(study: Path) -> None:
    told = {"scenario": str(study.parent / "base.yaml"), "vary": {"model": ["gpt3-175b", "gpt2"]}}
    with pytest.raises(InfeasiblePlanError):
        costsim.plan(study.parent / "base.yaml", ["model=gpt3-175b"])
    assert [row["status"] for row in costsim.sweep(told)] == ["infeasible", "ok"]


def test_processes_give_the_bytes_of_one(study: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    costsim.sweep(study, one)
    costsim.sweep(study, two, jobs=2)
    assert one.read_bytes() == two.read_bytes()
    assert not list(tmp_path.glob("*.journal"))


def test_every_format_holds_the_same_rows(study: Path, tmp_path: Path) -> None:
    names = [tmp_path / f"r.{suffix}" for suffix in ("csv", "jsonl", "parquet")]
    results = [costsim.sweep(study, name, limit=10) for name in names]
    rows = results[0].rows()
    assert [json.loads(line) for line in names[1].read_text().splitlines()] == rows
    assert pyarrow.parquet.read_table(names[2]).to_pylist() == rows
    with names[0].open(newline="") as handle:
        written = list(csv.DictReader(handle))
    assert [row["cost_usd"] for row in written] == [str(row["cost_usd"] or "") for row in rows]
    frame = results[0].to_pandas()
    assert list(frame.index) == list(range(10))
    assert list(frame["price"]) == [row["price"] for row in rows]


def test_limit_is_a_start_that_goes_on(study: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.csv", tmp_path / "parts.csv"
    costsim.sweep(study, whole)
    for limit in (3, 11, 5, None):
        costsim.sweep(study, parts, limit=limit)
    assert whole.read_bytes() == parts.read_bytes()


def _started(study: Path, output: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "costsim.cli", "sweep", str(study), "-o", str(output), *more]
    script = (  # a shell lets what it starts in the background ignore Ctrl-C
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from costsim.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, *command[3:]],
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def _wait_for_rows(journal: Path, size: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        if journal.exists() and journal.stat().st_size > size:
            return
        time.sleep(0.005)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_killed_anywhere_it_goes_on(study: Path, tmp_path: Path, jobs: str) -> None:
    whole, killed = tmp_path / "whole.csv", tmp_path / "killed.csv"
    costsim.sweep(study, whole)
    journal, random_source = tmp_path / "killed.csv.journal", random.Random(5)
    kills = 0
    for _ in range(2):
        before = journal.stat().st_size if journal.exists() else 0
        process = _started(study, killed, "--jobs", jobs)
        _wait_for_rows(journal, before + 90, process)
        time.sleep(random_source.uniform(0, 0.05))
        kills += process.poll() is None
        os.kill(process.pid, signal.SIGKILL)  # workers see their parent go, and end
        process.communicate()
    assert kills
    with journal.open("ab") as handle:
        handle.write(b"20 2 999 0abc\n[1,")  # a frame that was cut short
    costsim.sweep(study, killed)
    assert whole.read_bytes() == killed.read_bytes()


def test_interrupted_ends_with_130(study: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.csv", tmp_path / "cut.csv"
    costsim.sweep(study, whole)
    for _ in range(5):  # it may end before the signal comes
        process = _started(study, cut, "--jobs", "2")
        _wait_for_rows(tmp_path / "cut.csv.journal", 1, process)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=120)
        if process.returncode:
            break
        cut.unlink()
    assert process.returncode == 130, said
    assert b"goes on where it ended" in said
    assert not cut.exists()
    costsim.sweep(study, cut)
    assert whole.read_bytes() == cut.read_bytes()


def test_journal_of_another_study_is_refused(study: Path, tmp_path: Path) -> None:
    output = tmp_path / "r.csv"
    costsim.sweep(study, output, limit=2)
    base = tmp_path / "base.yaml"
    base.write_text(base.read_text().replace("10 B", "11 B"))
    with pytest.raises(SpecError, match="another study"):
        costsim.sweep(study, output)
    assert costsim.sweep(study, output, restart=True, limit=2).points == 2


def test_two_runs_do_not_write_one_journal(tmp_path: Path) -> None:
    first = Journal(tmp_path / "j", "x")
    with pytest.raises(SpecError, match="another run"):
        Journal(tmp_path / "j", "x")
    first.close()


@pytest.mark.parametrize("cut", [1, 7, 20, 33])
def test_a_torn_frame_is_discarded(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    journal = Journal(path, "x")
    journal.append(0, 2, b"[1]\n[2]\n")
    journal.append(2, 1, b"[3, 'some text that is long']\n")
    journal.close()
    os.truncate(path, path.stat().st_size - cut)
    again = Journal(path, "x")
    assert again.done == 2
    again.append(2, 1, b"[4]\n")
    assert list(again.lines()) == [b"[1]", b"[2]", b"[4]"]
    again.close()


def test_absurd_sizes_are_refused(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = study.read_text().replace("latin_hypercube: 4", "latin_hypercube: 100000000")
    study.write_text(text)
    assert main(["sweep", str(study)]) == 1
    assert "600,000,000 points" in capsys.readouterr().err
    assert main(["sweep", str(study), "--limit", "2", "--jobs", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 3
    assert "2 of 600,000,000 points" in captured.err


def test_all_mistakes_at_their_places(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.write_text(
        "scenario: base.yaml\n"
        "vary:\n"
        "  price: [1 $/h, 2 $h]\n"
        "  workload.globalbatch: [64]\n"
        "list:\n"
        "  - {hardware.devices: 8}\n"
        "  - {hardware.devices: x}\n"
    )
    assert main(["sweep", str(study)]) == 1
    said = capsys.readouterr().err
    for place in ("study.yaml:3:18", "study.yaml:4:3", "study.yaml:7:24"):
        assert place in said
    assert "did you mean `global_batch`?" in said


def test_unknown_entries_are_named(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.write_text(study.read_text().replace("[cost_usd", "[cost_us"))
    assert main(["sweep", str(study)]) == 1
    said = capsys.readouterr().err
    assert "study.yaml:10:10" in said
    assert "did you mean `cost_usd`" in said


def test_a_study_names_no_file_outside_its_folder(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    outer = folder / "study.yaml"
    outer.write_text("scenario: ../base.yaml\nvary: {price: [1 $/h]}\n")
    with pytest.raises(SpecError, match="outside"):
        read_study(outer)
    assert read_study(outer, allow_outside=True).points.count == 1
    (folder / "base.yaml").write_text((tmp_path / "base.yaml").read_text())
    outer.write_text("scenario: base.yaml\nvary: {model: [gpt2, ../base.yaml]}\n")
    with pytest.raises(SpecError, match="outside"):
        read_study(outer)


def test_a_scenario_within_the_study(tmp_path: Path, study: Path) -> None:
    inline = "".join(f"  {line}\n" for line in (tmp_path / "base.yaml").read_text().splitlines())
    path = tmp_path / "inline.yaml"
    path.write_text(f"scenario:\n{inline}vary:\n  price: [3 $/h]\n")
    (row,) = costsim.sweep(path)
    planned = costsim.plan(tmp_path / "base.yaml", ["price=3 $/h"])
    assert row["cost_usd"] == planned.best.value("cost_usd")
    path.write_text(f"scenario:\n{inline}  limts: {{}}\nvary:\n  price: [3 $/h]\n")
    with pytest.raises(SpecError, match=r"inline.yaml:10:3"):
        read_study(path)


def test_a_hundred_million_points_run_within_a_gigabyte(study: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read as Linux tells it: `getrusage` counts the parent's too")
    study.write_text(study.read_text().replace("latin_hypercube: 4", "latin_hypercube: 16666667"))
    assert read_study(study).points.count > 10**8
    script = (
        "import re, sys; from costsim.cli import main; main(sys.argv[1:]);"
        "said = open('/proc/self/status').read();"
        "print(re.search(r'VmHWM:\\s+(\\d+)', said)[1], file=sys.stderr)"
    )
    arguments = ["sweep", str(study), "--limit", "40", "--jobs", "1", "-q"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.count(b"\n") == 41
    assert int(done.stderr) * 1024 < 1e9


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("5", "must be a list of values, or a range"),
        ("{from: 1 $/h, too: 2 $/h, steps: 3}", "unknown key `vary.price.too`"),
        ("[]", "at least 1 item"),
    ],
)
def test_axes_are_lists_or_ranges(study: Path, axis: str, message: str) -> None:
    study.write_text(f"scenario: base.yaml\nvary:\n  price: {axis}\n")
    with pytest.raises(SpecError, match=message) as caught:
        read_study(study)
    assert len(caught.value.problems) == 1
