"""What must hold of the whole tool: nothing read is run, answers repeat, files are whole."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import costsim
from costsim.cli import main
from costsim.compression.recipes import load_recipes
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


def test_no_cell_of_a_trace_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n0,5,5\n1,5,5,9\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r"t\.csv:3: 4 cells in a row of 3 columns"):
        read_trace(path)


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
        "losses: {hopper: {sustained_ratio: 0o17}}",
        "software: {megatron-core: {launch_s: 3}}",
    ],
)
def test_a_constant_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "o.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=r"o\.yaml:1"):
        read_overlay(path)


LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "vocab_size": 100,
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "num_key_value_heads 4"),
        ({"architectures": None}, "no `architectures` says which head it has"),
        ({"hidden_act": "{{7*7}}"}, "`hidden_act` `{{7*7}}` is no function that is known"),
    ],
)
def test_what_a_config_leaves_out_or_names_oddly_is_told(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, **changes}))
    assert said in " ".join(costsim.load_model(tmp_path / "config.json").notes)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"model_type": "t5", "feed_forward_proj": "gated-{{7*7}}"},
            "`feed_forward_proj` `gated-{{7*7}}` is no function that is known",
        ),
        (
            {"model_type": "deberta-v2", "relative_attention": True, "pos_att_type": "p2c|模型"},
            "`pos_att_type` is of `c2p`",
        ),
        (
            {"model_type": "deepseek_v3", "n_group": float("nan")},
            "`n_group` must be a whole number",
        ),
    ],
)
def test_words_and_numbers_of_a_config_that_mean_nothing_are_refused(
    tmp_path: Path, config: dict[str, object], said: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SpecError, match=re.escape(said)):
        costsim.load_model(tmp_path / "config.json").blocks()


def test_a_recipe_that_does_not_go_with_a_model_has_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "steps:\n  - kind: merge-experts\n    keep: 4\n  - {kind: quantize, format: int8}\n"
    )
    assert main(["compress", "llama-3-8b", "--recipe", str(path)]) == 1
    assert f"{path}:2:5: r: llama-3-8b has no mixture" in capsys.readouterr().err
    path.write_text(
        "steps:\n  - {kind: quantize, format: int8}\n  - kind: merge-experts\n    keep: 4\n"
    )
    assert main(["compress", "mixtral-8x7b", "--recipe", str(path)]) == 1
    assert f"{path}:3:5: `r` changes shapes" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", " , ", "+"])
def test_an_empty_recipe_is_none_that_was_meant(name: str) -> None:
    with pytest.raises(SpecError, match="the name of a recipe is empty"):
        load_recipes(name)


def test_a_stage_of_a_net_has_a_layer(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("vision:\n  family: resnet\n  depths: [3, 0]\n  widths: [256, 512]\n")
    with pytest.raises(SpecError, match="must be from 1 to"):
        costsim.load_model(path)


def test_no_argument_holds_a_nul(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "a\0b"]) == 2
    assert "NUL" in capsys.readouterr().err
