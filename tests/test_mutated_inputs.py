"""Spoilt inputs of every newer kind: each a finite answer or clear errors, never a traceback.

`COSTSIM_MORE_EXAMPLES=20 pytest tests/test_mutated_inputs.py` tries twenty times as many.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from costsim.architectures import load_model
from costsim.errors import CostsimError
from costsim.stacks.catalog import load_stack
from mutations import HOSTILE, answered, arguments, bent, finite, spoilt

MORE = int(os.environ.get("COSTSIM_MORE_EXAMPLES", "1"))
"""How many times as many inputs are tried, from a new seed: for a long run by hand."""


def examples(count: int) -> settings:
    """Return settings of a test that tries so many inputs, the same each time."""
    return settings(max_examples=count * MORE, derandomize=MORE == 1)


H100 = "nvidia-h100-sxm5-80gb"
TRAINING: dict[str, Any] = {
    "name": "small",
    "model": "gpt2",
    "workload": {
        "kind": "training",
        "tokens": "10 B tokens",
        "sequence": 1024,
        "global_batch": 64,
        "precision": "bf16",
    },
    "hardware": {"system": "nvidia-a100-sxm4-80gb", "devices": 8},
    "strategy": {"tp": 1, "pp": 1, "dp": 8, "zero": 0, "recompute": "none", "micro_batch": 8},
    "price": "2 $/h",
    "site": {"grid": "USA"},
    "limits": {"cost": "1000 $", "deadline": "10 days"},
}
STUDY: dict[str, Any] = {
    "scenario": TRAINING,
    "vary": {"price": ["1 $/h", "2 $/h"], "workload.global_batch": [64, 128]},
    "sample": {
        "latin_hypercube": 4,
        "seed": 3,
        "over": {"workload.tokens": {"from": "1 B tokens", "to": "9 B tokens", "scale": "log"}},
    },
    "record": ["cost_usd", "days", "strategy.dp", "system"],
}
SERVING: dict[str, Any] = {
    "name": "embedding",
    "model": "bert-base",
    "workload": {"kind": "forward", "requests_per_s": 500, "sequence": 256, "latency": "50 ms"},
    "hardware": {"system": "nvidia-l4"},
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Return a folder to write into, which is also the working one."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        yield Path(name)
        os.chdir(before)


def written(path: Path, tree: Any) -> str:
    """Write a tree as YAML and return the path."""
    path.write_text(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return str(path)


# --- command lines -------------------------------------------------------------------------------

FIT = {
    "--count": ["1", "8"],
    "--software": ["hf-trainer", "torchtune", "unsloth"],
    "--method": ["full", "frozen", "lora", "dora", "qlora"],
    "--objective": ["sft", "dpo", "grpo", "distill"],
    "--sequence": ["1", "4096", "10000000"],
    "--micro-batch": ["1", "64", "99999999"],
    "--accumulation": ["1", "7"],
    "--precision": ["bf16", "fp32", "fp8"],
    "--optimizer": ["adamw", "adam_8bit", "adafactor", "muon", "sgd"],
    "--recompute": ["none", "full", "selective"],
    "--zero": ["0", "3"],
    "--tp": ["1", "2", "3"],
    "--cp": ["1", "2", "5"],
    "--offload": ["none", "optimizer", "params"],
    "--nvme": ["12 GB/s", "12", "-3 GB/s"],
    "--rank": ["1", "16", "1000000"],
    "--targets": ["all-linear", "q_proj,v_proj", ","],
    "--modules-to-save": ["lm_head", "norm"],
    "--trained": ["last:1", "last:99", "last:-1", "norms", "lm_head"],
    "--storage": ["nf4", "int8", "gptq-int4"],
    "--reference": ["shared", "separate"],
    "--teacher": ["gpt2", "llama-3-8b"],
    "--engine": ["none", "colocated", "asleep"],
    "--engine-share": ["0", "0.3", "1"],
    "--choice": ["loss=fused_linear", "loss=", "=", "weights=bf16", "zzqx=1", "reserve_ratio=nan"],
    "--devices": [],
}


@examples(40)
@given(
    st.sampled_from(["gpt2", "llama-3-8b", "mixtral-8x7b", "resnet50", "zzqx", ""]),
    st.sampled_from([H100, "dgx-h100", "nvidia-l4", "zzqx"]),
    arguments(FIT),
)
def test_fit(model: str, hardware: str, options: list[str]) -> None:
    answered(["fit", model, "--hardware", hardware, *options, "--format", "json"])


SETTINGS = [
    "hardware.devices=16", "hardware.devices=0", "workload.tokens=1e400", "workload=1", "zzqx=1",
    "price=-1 $/h", "strategy.tp=3", "limits.cost=0 $", "model=zzqx", "=", "price=[", "a.b.c=1",
]  # fmt: skip
SOLVE = {
    "--set": SETTINGS,
    "--for": ["tokens", "devices", "deadline", "budget", "parameters", "load"],
    "--law": ["chinchilla", "hoffmann-2022"],
    "--loss": ["2.5", "0.1", "100", "-2"],
    "--unique-tokens": ["1e9", "1 B tokens", "3"],
    "--served-tokens": ["1e12", "1 T tokens"],
}


@examples(25)
@given(arguments(SOLVE, most=3))
def test_solve(folder: Path, options: list[str]) -> None:
    scenario = written(folder / "s.yaml", TRAINING)
    answered(["solve", scenario, *options, "--format", "json"])


SENSITIVITY = {
    "--set": SETTINGS,
    "--by": ["0.2", "0.999", "1e-12"],
    "--flips": [],
    "--input": ["price", "peak", "zzqx"],
}


@examples(8)
@given(arguments(SENSITIVITY, most=2))
def test_sensitivity(folder: Path, options: list[str]) -> None:
    scenario = written(folder / "s.yaml", TRAINING)
    answered(["sensitivity", scenario, *options, "--format", "json"])


@examples(25)
@given(spoilt(TRAINING), arguments({"--set": SETTINGS, "--exit-code": []}, most=2))
def test_diff(folder: Path, changed: Any, options: list[str]) -> None:
    before = written(folder / "before.yaml", TRAINING)
    after = written(folder / "after.yaml", changed)
    answered(["diff", before, after, *options, "--format", "json"])


# --- files ---------------------------------------------------------------------------------------


@examples(50)
@given(spoilt(STUDY), st.sampled_from(["csv", "jsonl"]))
def test_studies(folder: Path, study: Any, form: str) -> None:
    path = written(folder / "study.yaml", study)
    answered(["sweep", path, "--limit", "1", "--jobs", "1", "--format", form])


@examples(60)
@given(st.data())
def test_choices_of_stacks(folder: Path, data: st.DataObject) -> None:
    fields = sorted(load_stack("hf-trainer").__dataclass_fields__)
    key = data.draw(st.sampled_from([*fields, "zzqx"]))
    value = data.draw(st.sampled_from([v for v in HOSTILE if not isinstance(v, dict | list)]))
    workload = {**TRAINING["workload"], "stack": "hf-trainer", "stack_choices": {key: value}}
    answered(
        ["plan", written(folder / "s.yaml", {**TRAINING, "workload": workload}), "--format", "json"]
    )


PRICES = [
    ["instance", "region", "accelerator_id", "devices", "term", "usd_per_device_hour", "as_of"],
    ["big", "us-east-1", H100, "8", "on_demand", "3.5", "2026-01-02"],
    ["big", "us-east-1", H100, "8", "spot", "1.5", "2026-01-02"],
]


@examples(40)
@given(spoilt(PRICES), st.integers(0, 10**9))
def test_price_lists(folder: Path, rows: Any, number: int) -> None:
    out = io.StringIO()
    cells = [row if isinstance(row, list) else [row] for row in rows]
    csv.writer(out).writerows(cells)
    path = folder / f"own-{number}.csv"  # a list is read once by its name
    path.write_text(out.getvalue(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COSTSIM_PRICES", str(path))
        answered(["prices", H100, "--format", "json"])


ENTRY = {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]}


def read_or_refuse(path: Path) -> None:
    """Load a model's file, which is either one or refused in words."""
    try:
        parameters = load_model(path).parameters
    except CostsimError:
        return
    assert 0 < parameters < 10**16


@examples(120)
@given(st.data())
def test_headers_of_safetensors(folder: Path, data: st.DataObject) -> None:
    header = data.draw(spoilt({"a.weight": ENTRY, "__metadata__": {"format": "pt"}}))
    raw = json.dumps(header).encode()
    whole = struct.pack("<Q", len(raw)) + raw + bytes(64)
    path = folder / "model.safetensors"
    path.write_bytes(data.draw(st.just(whole) | bent(whole)))
    read_or_refuse(path)


INDEX = {"metadata": {"total_size": 64}, "weight_map": {"a.weight": "model.safetensors"}}


@examples(60)
@given(spoilt(INDEX))
def test_indices_of_safetensors(folder: Path, index: Any) -> None:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index), encoding="utf-8")
    read_or_refuse(path)


U32, STRING, ARRAY = 4, 8, 9


def gguf() -> bytes:
    """Return a small model in GGUF, as its specification lays it out."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    sizes = {
        "block_count": 1, "embedding_length": 256, "feed_forward_length": 512,
        "attention.head_count": 4, "attention.head_count_kv": 2, "context_length": 512,
    }  # fmt: skip
    shapes = {
        "token_embd.weight": (100, 256), "output_norm.weight": (256,),
        "blk.0.attn_q.weight": (256, 256), "blk.0.attn_k.weight": (128, 256),
        "blk.0.attn_v.weight": (128, 256), "blk.0.attn_output.weight": (256, 256),
        "blk.0.ffn_gate.weight": (512, 256), "blk.0.ffn_up.weight": (512, 256),
        "blk.0.ffn_down.weight": (256, 512), "blk.0.attn_norm.weight": (256,),
        "blk.0.ffn_norm.weight": (256,),
    }  # fmt: skip
    out = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(sizes) + 2)
    out += text("general.architecture") + struct.pack("<I", STRING) + text("llama")
    for key, value in sizes.items():
        out += text(f"llama.{key}") + struct.pack("<II", U32, value)
    words = [f"w{k}" for k in range(100)]
    out += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", ARRAY, STRING, len(words))
    out += b"".join(map(text, words))
    for name, shape in shapes.items():
        out += text(name) + struct.pack("<I", len(shape))
        out += b"".join(struct.pack("<Q", side) for side in reversed(shape))
        out += struct.pack("<IQ", 0, 0)
    return out


GGUF = gguf()


def test_the_gguf_that_is_bent_is_one(folder: Path) -> None:
    path = folder / "model.gguf"
    path.write_bytes(GGUF)
    layer = 2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256 + 2 * 256
    assert load_model(path).parameters == 100 * 256 + layer + 256


@examples(200)
@given(bent(GGUF))
def test_gguf(folder: Path, raw: bytes) -> None:
    path = folder / "model.gguf"
    path.write_bytes(raw)
    read_or_refuse(path)


# --- requests ------------------------------------------------------------------------------------

ESTIMATE: dict[str, Any] = {
    "model": "bert-base", "hardware": "l4", "phase": "forward", "batch": 8, "sequence": 128,
    "precision": "bf16", "optimizer": "adam", "devices": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    pytest.importorskip("starlette")
    pytest.importorskip("httpx")
    from starlette.testclient import TestClient

    from costsim.web.app import make_app

    with TestClient(make_app(time_limit_s=60), base_url="http://127.0.0.1:8321") as made:
        yield made


@examples(50)
@given(st.data())
def test_web_requests(client: Any, data: st.DataObject) -> None:
    question, body = data.draw(
        st.sampled_from(
            [
                ("plan", {"scenario": SERVING}),
                ("validate", {"scenario": TRAINING}),
                ("explain", {"scenario": SERVING, "quantity": "cost_usd"}),
                ("estimate", ESTIMATE),
            ]
        )
    )
    sent = json.dumps(data.draw(spoilt(body))).encode()
    sent = data.draw(st.just(sent) | st.just(sent) | bent(sent))
    headers = {"content-type": "application/json"}
    reply = client.post(f"/api/{question}", content=sent, headers=headers)
    assert reply.status_code in (200, 400, 413, 422), (sent, reply.text)
    found = reply.json()
    assert finite(found)
    if reply.status_code != 200:
        assert found["problems"]
        assert all(one["message"] for one in found["problems"])


@examples(40)
@given(st.data())
def test_arguments_of_mcp_tools(data: st.DataObject) -> None:
    pytest.importorskip("mcp")
    from mcp.server.mcpserver.exceptions import ToolError

    from costsim.mcp.server import make_server

    tool, named = data.draw(
        st.sampled_from(
            [
                ("plan", {"scenario": SERVING}),
                ("validate", {"scenario": TRAINING}),
                ("explain", {"scenario": SERVING, "quantity": "cost_usd"}),
                ("estimate", ESTIMATE),
                ("hardware", {"name": "l4"}),
                (
                    "prices",
                    {"accelerator": "l4", "provider": "aws", "region": None, "term": "spot"},
                ),
            ]
        )
    )
    call = make_server().call_tool(tool, data.draw(spoilt(named)))
    try:
        found: Any = asyncio.run(call)
    except ToolError as error:
        found = error
    assert not isinstance(found, Exception) or type(found) is ToolError, repr(found.__cause__)
    assert str(found)
