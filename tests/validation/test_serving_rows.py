"""Inference runs: what a row means, and how far predictions lie from the measurements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from costsim.validation.score import validate

HEADER = (
    "id,model,config,accelerator_id,n_devices,framework,load,precision,gemm_quant,moe_quant,"
    "input_tokens,output_tokens,concurrency,tp,pp,ttft_ms,tpot_ms,output_tokens_per_s\n"
)
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 32,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}


def rows(folder: Path, *lines: str) -> Path:
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    path = folder / "runs.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_every_quantity_of_a_closed_loop_is_predicted_without_measurements(tmp_path: Path) -> None:
    line = "a,m,config.json,h100,1,vllm/0.12,closed-loop,fp8,fp8,fp8,1024,128,8,1,1,,,"
    found = validate(rows(tmp_path, line))
    quantities = [e.quantity for e in found.entries]
    assert quantities == ["ttft_ms", "tpot_ms", "output_tokens_per_s", "ttft_p99_ms"]
    assert {e.status for e in found.entries} == {"predicted"}
    for entry in found.entries:
        assert entry.low is not None
        assert entry.predicted is not None
        assert entry.high is not None
        assert 0 < entry.low < entry.predicted < entry.high


def test_offline_throughput_is_that_of_the_whole_deployment(tmp_path: Path) -> None:
    device = "nvidia-h100-sxm5-80gb"
    one = f"a,m,config.json,{device},1,trtllm,max-throughput,fp8,,,1000,1000,,1,1,,,17000"
    two = f"b,m,config.json,{device},2,trtllm,max-throughput,fp8,,,1000,1000,,1,1,,,"
    first, second = validate(rows(tmp_path, one, two)).entries
    assert first.status == "scored"
    assert first.predicted is not None
    assert second.predicted == pytest.approx(2 * first.predicted)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,m,none.json,h100,1,vllm,closed-loop,fp8,,,100,10,8,1,1,,5,", "none.json"),
        ("a,m,config.json,h100,1,vllm,closed-loop,fp3,,,100,10,8,1,1,,5,", "unknown number format"),
        ("a,m,config.json,h100,1,vllm,closed-loop,fp8,,,100,10,,1,1,,5,", "concurrency"),
        ("a,m,config.json,h100,1,vllm,closed-loop,fp8,,,0,10,8,1,1,,5,", "input_tokens"),
        ("a,m,config.json,h100,1,vllm,open-loop,fp8,,,100,10,8,1,1,,5,", "open-loop"),
    ],
)
def test_a_row_that_cannot_be_predicted_says_why(tmp_path: Path, line: str, reason: str) -> None:
    (entry,) = validate(rows(tmp_path, line)).entries
    assert entry.status == "unsupported"
    assert reason in entry.reason
