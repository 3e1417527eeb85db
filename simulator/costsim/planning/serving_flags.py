"""The command that starts the chosen replica, with the flags of its engine."""

from __future__ import annotations

from costsim.inference.engines import Engine
from costsim.planning.serving_search import Replica

_QUANTIZED = {"fp8": "fp8", "fp8_block": "fp8", "w4a16": "awq", "nvfp4": "modelopt_fp4"}


def deploy_command(replica: Replica, engine: Engine) -> str:
    """Return the command line of one replica; `MODEL` stands for the checkpoint."""
    if engine.name.startswith("tensorrt"):
        return _trtllm(replica, engine)
    if engine.name == "sglang":
        return _sglang(replica, engine)
    return _vllm(replica, engine)


def _vllm(replica: Replica, engine: Engine) -> str:
    layout, formats = replica.layout, replica.quantization
    parts = ["vllm serve MODEL"]
    if layout.tp > 1:
        parts.append(f"--tensor-parallel-size {layout.tp}")
    if layout.pp > 1:
        parts.append(f"--pipeline-parallel-size {layout.pp}")
    if layout.attention_dp > 1:
        parts.append(f"--data-parallel-size {layout.attention_dp}")
    if layout.ep > 1:
        parts.append("--enable-expert-parallel")
    if layout.cp > 1:
        parts.append(f"--prefill-context-parallel-size {layout.cp}")
    if formats.dense in _QUANTIZED:
        parts.append(f"--quantization {_QUANTIZED[formats.dense]}")
    if formats.cache == "fp8":
        parts.append("--kv-cache-dtype fp8")
    parts += [
        f"--gpu-memory-utilization {engine.memory_ratio:g}",
        f"--max-num-batched-tokens {engine.max_batched_tokens}",
        f"--max-num-seqs {engine.max_sequences}",
    ]
    if engine.speculation.tokens:
        drafts = f'{{"num_speculative_tokens": {engine.speculation.tokens}}}'
        parts.append(f"--speculative-config '{drafts}'")
    return " ".join(parts)


def _sglang(replica: Replica, engine: Engine) -> str:
    layout, formats = replica.layout, replica.quantization
    ranks = layout.tp * layout.attention_dp * layout.cp
    parts = ["python -m sglang.launch_server --model-path MODEL", f"--tp {ranks}"]
    if layout.pp > 1:
        parts.append(f"--pp-size {layout.pp}")
    if layout.attention_dp > 1:
        parts.append(f"--dp {layout.attention_dp} --enable-dp-attention")
    if layout.ep > 1:
        parts.append(f"--ep-size {layout.ep}")
    if layout.cp > 1:
        parts.append(f"--attn-cp-size {layout.cp} --enable-prefill-cp --cp-strategy zigzag")
    if formats.dense in _QUANTIZED:
        parts.append(f"--quantization {_QUANTIZED[formats.dense]}")
    if formats.cache == "fp8":
        parts.append("--kv-cache-dtype fp8_e4m3")
    parts += [
        f"--mem-fraction-static {engine.memory_ratio:g}",
        f"--chunked-prefill-size {engine.max_batched_tokens}",
    ]
    if engine.speculation.tokens:
        parts.append(f"--speculative-num-draft-tokens {engine.speculation.tokens + 1}")
    return " ".join(parts)


def _trtllm(replica: Replica, engine: Engine) -> str:
    layout = replica.layout
    ranks = layout.tp * layout.attention_dp
    parts = ["trtllm-serve MODEL", f"--tp_size {ranks}"]
    if layout.pp > 1:
        parts.append(f"--pp_size {layout.pp}")
    if layout.ep > 1:
        parts.append(f"--ep_size {layout.ep}")
    if layout.cp > 1:
        parts.append(f"--cp_size {layout.cp}")
    parts += [
        f"--max_num_tokens {engine.max_batched_tokens}",
        f"--max_batch_size {engine.max_sequences}",
        f"--kv_cache_free_gpu_memory_fraction {engine.memory_ratio:g}",
    ]
    if layout.attention_dp > 1:
        parts.append("--extra_llm_api_options <(echo 'enable_attention_dp: true')")
    return " ".join(parts)
