"""What must hold of the whole tool: nothing read is run, answers repeat, files are whole."""

from __future__ import annotations

import ast
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import costsim
from costsim.cli import main
from costsim.errors import SpecError
from costsim.inference.traces import read_trace
from costsim.planning.overlays import read_overlay

SOURCES = sorted(Path(costsim.__file__).parent.rglob("*.py"))
RUNS_CODE = {"eval", "exec", "compile", "__import__"}
RUNS_WHAT_IT_READS = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
SCENARIO = """name: small
model: llama-3.1-8b
workload:
  kind: inference
  requests_per_s: 4
  input_tokens: 300
  output_tokens: 50
  slo: {ttft: 2 s, tpot: 50 ms}
hardware:
  system: nvidia-h100-sxm5-80gb
  precision: bf16
"""


def forbidden(source: str) -> list[str]:
    """Return what in a module could run what it reads."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found += [node.func.id] if node.func.id in RUNS_CODE else []
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.split(".")[0] in RUNS_WHAT_IT_READS]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            dotted = f"{node.value.id}.{node.attr}"
            found += [dotted] if dotted in {"torch.load", "yaml.unsafe_load", "os.system"} else []
        if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
            off = isinstance(node.value, ast.Constant) and node.value.value is False
            found += [] if off else ["trust_remote_code"]
    return found


def test_no_module_runs_what_it_reads() -> None:
    assert len(SOURCES) > 100
    found = {str(path): forbidden(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source", ["eval(a)", "import pickle", "torch.load(a)", "f(trust_remote_code=True)"]
)
def test_what_runs_code_would_be_found(source: str) -> None:
    assert forbidden(source)


def plan(folder: Path, **environment: str) -> bytes:
    path = folder / "s.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    command = [sys.executable, "-m", "costsim", "plan", str(path), "--format", "json"]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, check=True
    ).stdout


def test_hash_seeds_and_threads_change_no_byte(tmp_path: Path) -> None:
    first = plan(tmp_path, PYTHONHASHSEED="0", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    assert first == plan(
        tmp_path, PYTHONHASHSEED="4242", OMP_NUM_THREADS="4", OPENBLAS_NUM_THREADS="4"
    )
    assert json.loads(first)


def test_killed_at_any_moment_the_old_file_stays(tmp_path: Path) -> None:
    scenario, output = tmp_path / "s.yaml", tmp_path / "plan.json"
    scenario.write_text(SCENARIO, encoding="utf-8")
    command = [sys.executable, "-m", "costsim", "plan", str(scenario), "-o", str(output)]
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    took_s, new = time.monotonic() - start, output.read_bytes()
    moments = random.Random(18)
    for _ in range(4):
        output.write_bytes(b"old")
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(moments.uniform(0.3, 1.0) * took_s)
            process.send_signal(signal.SIGKILL)
        assert output.read_bytes() in (b"old", new)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("requests_per_s", "true", "must be a valid number"),
        ("requests_per_s", "5e-324", "greater than or equal"),
        ("requests_per_s", ".inf", "finite number"),
        ("output_tokens", "9223372036854775808", "less than or equal"),
        ("output_tokens", "true", "must be a valid integer"),
    ],
)
def test_a_number_that_means_nothing_has_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: str, said: str
) -> None:
    lines = SCENARIO.splitlines()
    (at,) = (index for index, line in enumerate(lines) if line.strip().startswith(key))
    lines[at] = f"  {key}: {value}"
    path = tmp_path / "s.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert main(["plan", str(path)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert f"s.yaml:{at + 1}:" in error


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("arrival_s,input_tokens,output_tokens,cachedtokens", "did you mean `cached_tokens`?"),
        ("arrival_s,input_tokens,output_tokens,output_tokens", "`output_tokens` stands twice"),
        ("arrival_s,input_tokens,output_tokens," + "a" * 5_000, "unknown name"),
    ],
)
def test_no_column_of_a_trace_is_silent(tmp_path: Path, header: str, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{header}\n0,5,5,1\n1,5,5,1\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r"t\.csv:1") as caught:
        read_trace(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("key", "said"),
    [("starttimes", "did you mean `start_times`?"), ("input_lens", "duplicate key `input_lens`")],
)
def test_no_key_of_a_bench_result_is_silent(tmp_path: Path, key: str, said: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(f'{{"input_lens": [5, 6], "output_lens": [7, 8], "{key}": [0, 1]}}')
    with pytest.raises(SpecError) as caught:
        read_trace(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "within: {hopper: {low_ratio: 0.9, high_ratio: .inf}}",
        "within: {hopper: {low_ratio: true, high_ratio: 1.2}}",
        "losses: {hopper: {straggler_ratio: 1e99999}}",
        "losses: {hopper: {sustained_ratio: true}}",
        "software: {megatron-core: {launch_s: 1e308}}",
    ],
)
def test_a_constant_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "o.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=r"o\.yaml:1"):
        read_overlay(path)
