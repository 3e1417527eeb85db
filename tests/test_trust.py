"""What must hold of the whole tool: nothing read is run, answers repeat, files are whole."""

from __future__ import annotations

import ast
import json
import logging
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
from costsim.architectures import load_model
from costsim.cli import main
from costsim.compression.recipes import load_recipes
from costsim.errors import CostsimError, SpecError
from costsim.hardware import load_accelerator, load_hardware
from costsim.hardware.calibration import load_class
from costsim.inference import traces
from costsim.inference.traces import read_trace
from costsim.planning.overlays import read_overlay
from costsim.validation.score import validate

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
    [
        ("starttimes", "did you mean `start_times`?"),
        ("START_TIMES", "did you mean `start_times`?"),
        ("input_lens", "duplicate key `input_lens`"),
    ],
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
        "losses: {hopper: {sustained_ratio: 5.0}}",  # products faster than the peak
        "losses: {hopper: {sustained_narrow_ratio: 1.3}}",
        "losses: {cpu: {sustained_attention_ratio: 1.1}}",
        "losses: {hopper: {contention_ratio: 1.5}}",  # hidden, dearer than not hidden
        "losses: {hopper: {sustained_ratio: 0o17}}",
        "software: {megatron-core: {launch_s: 3}}",
    ],
)
def test_a_constant_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "o.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=r"o\.yaml:1"):
        read_overlay(path)


def test_an_overlay_reaches_the_peak_at_most(tmp_path: Path) -> None:
    path = tmp_path / "o.yaml"
    alone = load_class("hopper").gemm["bf16"].compute_ratio
    path.write_text(f"losses: {{hopper: {{sustained_ratio: {0.999 / alone}}}}}", encoding="utf-8")
    assert read_overlay(path).losses["hopper"]["sustained_ratio"] * alone < 1
    path.write_text(f"losses: {{hopper: {{sustained_ratio: {1.01 / alone}}}}}", encoding="utf-8")
    with pytest.raises(SpecError, match="faster than the hardware"):
        read_overlay(path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2023-11-16 18:17:03,5,5", "dates and seconds"),
        ("2,5," + "5" * 200_000, "not a CSV file"),
    ],
)
def test_a_row_of_a_trace_that_the_header_does_not_fit_has_its_line(
    tmp_path: Path, row: str, said: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"arrival_s,input_tokens,output_tokens\n0,5,5\n1,5,5\n{row}\n")
    with pytest.raises(SpecError, match=r"t\.csv:4") as caught:
        read_trace(path)
    assert said in str(caught.value)


def test_a_trace_is_read_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n0,5,5\n1,5,5\n")
    monkeypatch.setattr(traces, "MOST_BYTES", path.stat().st_size)
    assert len(read_trace(path).arrival_s) == 2
    with path.open("a") as handle:
        handle.write("2,5,5\n")
    for endless in (path, Path("/dev/zero")):
        with pytest.raises(SpecError, match="larger than"):
            read_trace(endless)


def test_layers_without_end_are_refused_in_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = {
        "id": "a", "family": "llm-dense", "params_B": 8, "layers": 10**6, "hidden": 4096,
        "heads": 32, "vocab": 128256, "seq_len": 4096, "accelerator_id": "nvidia-h100-sxm5-80gb",
        "n_devices": 8, "precision": "bf16", "global_batch": 8, "zero_or_fsdp": "",
        "recompute": "", "framework": "", "interconnect": "", "step_time_s": 1,
    }  # fmt: skip
    path = tmp_path / "r.csv"
    path.write_text(",".join(cells) + "\n" + ",".join(map(str, cells.values())) + "\n")
    main(["validate", str(path)])
    assert "r.csv:2:" in (error := capsys.readouterr().err)
    assert "column `layers`: `1000000` is more than 10,000" in error


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model_type": "cohere2"}, "num_key_value_heads"),
        ({"model_type": "deberta-v2", "relative_attention": True}, "pos_att_type"),
        ({"model_type": "bert"}, "architectures"),
        ({"model_type": "starcoder2"}, "sliding_window"),
        ({"model_type": "deepseek_v2", "n_group": 8, "num_experts_per_tok": 2}, "topk_group"),
    ],
)
def test_what_a_config_leaves_to_its_type_is_told(config: dict[str, object], told: str) -> None:
    assert any(told in note for note in load_model(config).notes)


HARDWARE = """id: mine
name: Mine
vendor: nvidia
architecture: hopper
launch_year: 2023
memory: {capacity: 80 GB, bandwidth: 3 TB/s}
peaks: {bf16: 900 TFLOP/s, fp8: 1800 TFLOP/s}
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("2023", "20230", "between 1950 and 2100"),
        ("3 TB/s", "1e290 TB/s", "between 1e-15 and 1e+21"),
        ("80 GB", "1e-300 GB", "between 1e-15 and 1e+21"),
    ],
)
def test_a_figure_of_hardware_beyond_reason_has_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, said: str
) -> None:
    (tmp_path / "accelerators").mkdir()
    path = tmp_path / "accelerators" / "mine.yaml"
    path.write_text(HARDWARE.replace(old, new), encoding="utf-8")
    monkeypatch.setenv("COSTSIM_HARDWARE", str(tmp_path))
    line = HARDWARE[: HARDWARE.index(old)].count("\n") + 1
    with pytest.raises(CostsimError, match=rf"mine\.yaml:{line}:") as caught:
        load_accelerator("mine")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("devices", "kind", "said"),
    [
        ("8", "''", r"mine-8\.yaml:8:11: .*kind` must be text"),
        ("null", "nvlink-switch", r"mine-8\.yaml:1:1: missing key `devices_per_node`"),
    ],
)
def test_a_system_without_what_it_needs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: str, kind: str, said: str
) -> None:
    for folder in ("accelerators", "systems"):
        (tmp_path / folder).mkdir()
    (tmp_path / "accelerators" / "mine.yaml").write_text(HARDWARE, encoding="utf-8")
    (tmp_path / "systems" / "mine-8.yaml").write_text(
        "id: mine-8\nname: Mine\naccelerator: mine\n"
        f"devices: 8\ndevices_per_node: {devices}\ntiers:\n  - name: links\n    kind: {kind}\n"
        "    devices: 8\n    bandwidth: 450 GB/s\n    latency: 2 us\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("COSTSIM_HARDWARE", str(tmp_path))
    with pytest.raises(CostsimError, match=said):
        load_hardware("mine-8")


def test_a_model_that_extends_no_file_has_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("name: m\nextends: nope.yaml\n", encoding="utf-8")
    assert main(["models", str(path)]) == 1
    assert "m.yaml:2:10: " in capsys.readouterr().err


def test_a_format_that_a_device_lacks_beside_the_matrices_has_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "accelerators").mkdir()
    (tmp_path / "accelerators" / "mine.yaml").write_text(HARDWARE.replace("bf16: 9", "fp16: 9"))
    monkeypatch.setenv("COSTSIM_HARDWARE", str(tmp_path))
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: small\nmodel: gpt2\nworkload:\n  kind: training\n  tokens: 1 B tokens\n"
        "  sequence: 1024\n  global_batch: 64\n  precision: fp8\n"
        "hardware: {system: mine, devices: 1}\nprice: 2 $/h\n"
    )
    assert main(["plan", str(path)]) == 1
    error = capsys.readouterr().err
    assert "s.yaml:8:14: Mine has no published dense bf16 rate" in error


def test_a_format_that_a_device_lacks_has_the_line_of_the_hardware(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: small\nmodel: resnet18\nworkload:\n  kind: forward\n  requests_per_s: 5\n"
        "  latency: 300 ms\nhardware:\n  system: nvidia-t4\n"
    )
    assert main(["plan", str(path)]) == 1
    error = capsys.readouterr().err
    assert "s.yaml:8:3: " in error
    assert "no published dense bf16 rate" in error


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{kind: mask, ratio: 0.5, pattern: '2:4'}", "either a ratio or a pattern"),
        ("{kind: prune, unit: heads, ratio: 3}", "leaves none"),
        ("{kind: attention, kv_heads: 9}", "attention changes shapes"),
        ("{kind: quantize, format: zzqx}", "unknown storage format"),
        ("{kind: adapt, targets: [zzqx]}", "no projection is called"),
        ("{kind: distill, student: zzqx}", "unknown model"),
        ("{kind: mask, ratio: 0.5}", "must come before"),
    ],
)
def test_what_a_step_cannot_do_has_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], step: str, said: str
) -> None:
    first = "{kind: quantize, format: int8}" if "before" in said else "{kind: cache, bits: 8}"
    path = tmp_path / "r.yaml"
    path.write_text(f"name: mixed\nsteps:\n  - {first}\n  - {step}\n", encoding="utf-8")
    assert main(["compress", "llama-3-8b", "--recipe", str(path)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "r.yaml:4:5: " in error


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ("model: nope.yaml", "2:8"),
        ("compression: ['distill:student=[]']", "12:15"),
        ("compression: [{distill: {student: []}}]", "12:15"),
        ("calibration: nope.yaml", "12:14"),
        ("compression: [int8, ' ']", "12:21"),
    ],
)
def test_what_a_scenario_names_wrongly_has_the_line_of_the_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, place: str
) -> None:
    key = change.split(":")[0]
    kept = [line for line in SCENARIO.splitlines() if not line.startswith(f"{key}:")]
    kept.insert(1 if key == "model" else len(kept), change)
    path = tmp_path / "s.yaml"
    path.write_text("\n".join(kept), encoding="utf-8")
    assert main(["plan", str(path)]) == 1
    assert f"s.yaml:{place}: " in capsys.readouterr().err


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


def test_members_of_rope_scaling_that_are_not_known_are_told(tmp_path: Path) -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "é": {"a": 1}}
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "rope_scaling": scaling}))
    notes = " ".join(costsim.load_model(tmp_path / "config.json").notes)
    assert "not understood, taken to change nothing that is counted: rope_scaling.é" in notes
    assert "factor" not in notes


def test_experts_that_do_not_divide_are_said_of_a_row(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(
        "id,family,model,params_B,layers,hidden,ffn,heads,vocab,experts,top_k,seq_len,"
        "accelerator_id,n_devices,precision,global_batch,tp,pp,ep,step_time_s\n"
        "a,moe,m,,4,512,512,8,1000,3,2,512,nvidia-h100-sxm5-80gb,8,bf16,64,1,1,4,1\n"
    )
    (entry,) = validate(path).entries
    assert entry.predicted is None
    assert entry.reason == "3 experts do not divide into EP 4"


def test_listening_to_the_work_ends_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "-v", "gpt3", "--bogus"]) == 2
    assert logging.getLogger("costsim").handlers == []
    capsys.readouterr()


def test_a_load_for_more_replicas_than_are_planned_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO.replace("requests_per_s: 4", "requests_per_s: 10000000"))
    start = time.process_time()
    assert main(["plan", str(path)]) == 3
    assert time.process_time() - start < 5
    error = capsys.readouterr().err
    assert "s.yaml:5:19: 1e+07 requests a second take" in error
    assert "more than the 4,096 that are planned" in error


def test_an_option_given_twice_has_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO + "compression: [none, int8, none]\n", encoding="utf-8")
    assert main(["plan", str(path)]) == 1
    assert "s.yaml:12:27: the same option stands above already" in capsys.readouterr().err


def test_buckets_of_positions_that_cannot_be_are_refused() -> None:
    config = {"model_type": "deberta-v2", "relative_attention": True, "position_buckets": -8}
    with pytest.raises(SpecError, match="`position_buckets` must be a whole number"):
        load_model(config)
