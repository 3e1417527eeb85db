"""Inputs that someone made to break costsim: each one clear error, or inert."""

from __future__ import annotations

import csv
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from costsim.architectures.division import divisors
from costsim.cli import main
from costsim.errors import UnitError
from costsim.paths import unfinished
from costsim.units import parse_quantity

LONG = "a" * 100_000
DEVICE = "nvidia-h100-sxm5-80gb"


def scenario(folder: Path, **changes: object) -> str:
    """Write a small scenario of training, some of its values changed, and return its path."""
    values: dict[str, object] = {
        "name": "small",
        "model": "llama-3.1-8b",
        "tokens": "1 B tokens",
        "devices": 8,
        **changes,
    }
    path = folder / "scenario.yaml"
    path.write_text(
        f"name: {values['name']}\nmodel: {values['model']}\nworkload:\n  kind: training\n"
        f"  tokens: {values['tokens']}\n  sequence: 2048\n  global_batch: 64\n"
        f"hardware:\n  system: {DEVICE}\n  devices: {values['devices']}\n",
        encoding="utf-8",
    )
    return str(path)


def serving(folder: Path, trace: str) -> str:
    """Write a scenario of serving recorded traffic and return its path."""
    path = folder / "serving.yaml"
    path.write_text(
        "name: small\nmodel: llama-3.1-8b\nworkload:\n  kind: inference\n  requests_per_s: 4\n"
        f"  trace: {trace}\n  slo: {{ttft: 2 s, tpot: 50 ms}}\n"
        f"hardware:\n  system: {DEVICE}\n  precision: bf16\n",
        encoding="utf-8",
    )
    return str(path)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, codes: tuple[int, ...]) -> str:
    """Return what a command that must refuse its input says."""
    code = main(list(arguments))
    printed, said = capsys.readouterr()
    assert code in codes, said[:500]
    assert not printed
    assert "fault of costsim" not in said, said[:500]
    assert said.startswith("error: ")
    assert said.isprintable() or all(c.isprintable() or c == "\n" for c in said)
    return said


def finite(value: Any) -> bool:
    """Say whether every number of a JSON value is finite."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", LONG),
        ("plan", LONG + ".yaml"),
        ("estimate", LONG, "--hardware", DEVICE),
        ("estimate", "llama-3.1-8b", "--hardware", LONG),
        ("compress", "llama-3.1-8b", "--recipe", LONG),
        ("models", LONG),
        ("models", LONG + "/config.json"),
        ("hardware", LONG),
        ("explain", LONG),
        ("explain", LONG + ".yaml"),
        ("validate", LONG),
    ],
    ids=lambda arguments: " ".join(part[:12] for part in arguments),
)
def test_a_name_of_a_hundred_thousand_characters_is_unknown(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, *arguments, codes=(1,))


@pytest.mark.parametrize("model", [LONG, LONG + "/config.json", '"a\\0b.yaml"', '"../\\0"'])
def test_a_scenario_names_a_model_that_no_file_can_be(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, "plan", scenario(tmp_path, model=model), codes=(1,))


@pytest.mark.parametrize(
    "tokens",
    [
        ".nan",
        ".inf",
        "1e400",
        "1e300",
        "true",
        '"1' + " " * 40_000 + 'x"',
        '"' + " " * 40_000 + '"',
        '"' + "1" * 40_000 + ' B tokens"',
    ],
    ids=lambda text: text[:8],
)
def test_a_quantity_that_means_nothing_is_refused_at_its_place(
    tokens: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "plan", scenario(tmp_path, tokens=tokens), codes=(1,))
    assert "scenario.yaml:5:" in said
    assert "workload.tokens" in said


@pytest.mark.parametrize("value", [True, False, None, [], "nan", "inf", "1e400", " " * 100_000])
def test_what_is_no_number_is_no_ratio(value: object) -> None:
    with pytest.raises(UnitError):
        parse_quantity(value, "ratio")


@pytest.mark.parametrize("number", [*range(1, 400), 999_983, 2**10 * 3**5 * 101])
def test_divisors_are_all_that_divide(number: int) -> None:
    if number < 1000:
        assert divisors(number) == [d for d in range(1, number + 1) if number % d == 0]
    else:
        found = divisors(number)
        assert found == sorted(set(found))
        assert all(number % d == 0 for d in found)
        assert len(found) == sum(
            1 if d * d == number else 2 for d in range(1, math.isqrt(number) + 1) if number % d == 0
        )


@pytest.mark.parametrize("devices", [10**15, 10**300, "true", ".inf"])
def test_more_devices_than_there_are_get_a_word(
    devices: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, "plan", scenario(tmp_path, devices=devices), codes=(1, 3))


BENCH: dict[str, Any] = {"input_lens": [100] * 5, "output_lens": [10] * 5}


@pytest.mark.parametrize(
    "found",
    [
        {"input_lens": [100], "output_lens": [10], "request_rate": "inf"},
        {"input_lens": [100], "output_lens": [10], "request_rate": 2.0},
        {**BENCH, "request_rate": "inf"},
        {**BENCH, "request_rate": math.inf},
        {**BENCH, "start_times": [3.0] * 5},
    ],
    ids=["one at once", "one", "inf as text", "inf", "no span"],
)
def test_requests_that_come_at_once_are_served_at_the_rate_asked(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.json").write_text(json.dumps(found))
    assert main(["plan", serving(tmp_path, "b.json"), "--format", "json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert finite(plan)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"input_lens": [' + "9" * 5_000 + '], "output_lens": [1]}',
        json.dumps({**BENCH, "request_rate": 5e-324}),
        json.dumps({**BENCH, "request_rate": -1}),
        json.dumps({**BENCH, "input_lens": [math.inf] * 5}),
        json.dumps({**BENCH, "input_lens": [True] * 5}),
        json.dumps({**BENCH, "output_lens": [10**400] * 5}),
        json.dumps({**BENCH, "output_lens": [10]}),
        "{}",
    ],
    ids=["deep", "digits", "slow", "back", "inf", "true", "1e400", "unequal", "empty"],
)
def test_a_bench_result_that_cannot_be_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.json").write_text(text)
    said = refused(capsys, "plan", serving(tmp_path, "b.json"), codes=(1,))
    assert "b.json" in said


@pytest.mark.parametrize(
    "row", ["0," + "9" * 200_000 + ",1", "0,1\0,1", "nan,1,1", "0,inf,1", "0,1,1e400", "0,-1,1"]
)
def test_a_cell_of_a_trace_that_cannot_be_is_refused(
    row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.csv").write_text(f"arrival_s,input_tokens,output_tokens\n{row}\n")
    said = refused(capsys, "plan", serving(tmp_path, "b.csv"), codes=(1,))
    assert "b.csv" in said


@pytest.mark.parametrize("output", ["a" * 5_000 + ".json", "missing/plan.json"])
def test_an_output_that_cannot_be_written_is_a_usage_error(
    output: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = scenario(tmp_path)
    monkeypatch.chdir(tmp_path)
    refused(capsys, "plan", source, "--format", "json", "-o", output, codes=(2,))
    assert [path.name for path in tmp_path.iterdir()] == ["scenario.yaml"]


# --- what is written and what is named -----------------------------------------------------------

EVIL = "m\x1b[31m <script>alert(1)</script> =cmd|'/C calc'!A0"
COMMAND = [sys.executable, "-m", "costsim"]


def test_a_full_disk_is_no_fault_of_costsim(tmp_path: Path) -> None:
    source = scenario(tmp_path)
    for arguments in (["models"], ["plan", source, "--format", "json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 2
        assert "cannot write the result: No space left" in done.stderr
        assert "fault of costsim" not in done.stderr


def test_a_pipe_is_read_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = Path(scenario(tmp_path)).read_text()
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(text,), daemon=True)
    writer.start()
    assert main(["plan", str(pipe), "--format", "json"]) == 0
    writer.join(timeout=10)
    assert not writer.is_alive()
    assert json.loads(capsys.readouterr().out)["best"]["days"] > 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("models", "m.yaml"),
        ("models", "m.yaml", "--format", "csv"),
        ("estimate", "m.yaml", "--hardware", DEVICE),
        ("compress", "m.yaml", "--recipe", "int8"),
        ("compress", "m.yaml", "--recipe", "int8", "--format", "csv"),
        ("explain", "m.yaml", "parameters"),
        ("fit", "m.yaml", "--hardware", DEVICE),
        ("plan", "s.yaml"),
        ("plan", "s.yaml", "--format", "csv"),
        ("plan", "s.yaml", "--format", "html"),
        ("plan", "s.yaml", "--format", "markdown"),
        ("sweep", "study.yaml", "--jobs", "1"),
    ],
    ids=lambda arguments: " ".join(arguments[:1] + arguments[-1:]),
)
def test_names_run_nothing(
    arguments: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quoted = json.dumps(EVIL)
    (tmp_path / "m.yaml").write_text(
        f"name: {quoted}\nsource: {quoted}\nlayers: 2\nhidden: 64\nheads: 2\nfeed_forward: 128\n"
        "vocabulary: 100\nmax_positions: 4096\n"
    )
    plan = Path(scenario(tmp_path, model="m.yaml", name=quoted))
    plan.rename(tmp_path / "s.yaml")
    (tmp_path / "study.yaml").write_text(
        f"scenario: s.yaml\nvary:\n  name: [{quoted}, \"=cmd|'/C calc'!A0\", '@SUM(A1)']\n"
        "record: [cost_usd]\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(list(arguments)) in (0, 3)
    printed = "".join(capsys.readouterr())
    assert not [c for c in printed if not c.isprintable() and c != "\n"]
    if "html" in arguments:
        assert "<script>alert" not in printed
    if arguments[0] == "sweep" or "csv" in arguments:
        cells = [cell for row in csv.reader(printed.splitlines()) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]


def test_interrupted_at_any_moment_nothing_is_half_written(tmp_path: Path) -> None:
    source, output = scenario(tmp_path), tmp_path / "plan.json"
    start = time.monotonic()
    command = [*COMMAND, "plan", source, "-o", str(output)]
    subprocess.run(command, check=True, capture_output=True)
    took_s, whole = time.monotonic() - start, output.read_bytes()
    moments = random.Random(18)
    for _ in range(3):
        output.unlink()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            time.sleep(moments.uniform(0.5, 1.0) * took_s)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert process.returncode in (0, 130, -signal.SIGINT), said
        assert b"Traceback" not in said
        if output.exists():
            assert output.read_bytes() == whole
        else:
            output.write_bytes(whole)
        assert {path.name for path in tmp_path.iterdir()} == {"plan.json", "scenario.yaml"}


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    code = "import sys, pathlib; from costsim.paths import unfinished; "
    code += "unfinished(pathlib.Path(sys.argv[1])).write_text('half')"
    subprocess.run([sys.executable, "-c", code, str(target)], check=True)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".plan.json.")
    other = tmp_path / ".plan.json.tmp"  # somebody else's
    other.write_text("")
    own = unfinished(target)
    assert not left.exists()
    assert other.exists()
    own.write_text("mine")
    assert unfinished(target) == own
    assert own.exists()  # its process runs
