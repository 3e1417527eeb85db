"""Formats of runs files: the columns of each, by which it is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from costsim.validation.columns import Columns, columns

_ORIGIN = "id source source_id group notes measured_on device_class address verified"
# What ran, said alike in every format of training.
_STACK = (
    "framework zero_or_fsdp recompute offload storage_format adapter_targets optimizer loss states"
)


@dataclass(frozen=True, slots=True)
class Format:
    """The columns of one file.

    Attributes:
        mark: a column that no other format requires, which tells them apart.
        required: columns without which no row can be predicted; their cells may be empty.
        columns: all that are known.
    """

    name: str
    mark: str
    required: tuple[str, ...]
    columns: Columns


_ALL = (
    Format(
        "inference",
        "input_tokens",
        ("id", "accelerator_id", "config", "input_tokens", "output_tokens"),
        columns(
            note=_ORIGIN + " assumed derived dataset",
            text=(
                "model config accelerator_id framework serving load precision gemm_quant moe_quant"
                " engine_version kv_dtype prefix_caching spec_method prefill_layout decode_layout"
                " flags"
            ),
            number=(
                "input_tokens output_tokens concurrency request_rate gpu_memory_utilization"
                " prefix_cache_hit_ratio acceptance_length"
            ),
            whole=(
                "n_devices tp pp attention_dp moe_tp ep num_prompts max_num_batched_tokens"
                " max_num_seqs max_model_len spec_tokens prefill_workers decode_workers"
            ),
            measured=(
                "ttft_ms tpot_ms output_tokens_per_s batch_measured total_tokens_per_s"
                " requests_per_s ttft_p50_ms ttft_p90_ms ttft_p95_ms ttft_p99_ms tpot_p50_ms"
                " tpot_p90_ms tpot_p95_ms tpot_p99_ms itl_mean_ms itl_p50_ms itl_p90_ms itl_p95_ms"
                " itl_p99_ms e2e_mean_ms e2e_p50_ms e2e_p90_ms e2e_p99_ms power_w_per_device"
                " energy_j_per_output_token memory_gb_per_device"
            ),
        ),
    ),
    Format(
        "vision",
        "gmacs",
        ("id", "accelerator_id", "model", "mode", "batch", "gmacs"),
        columns(
            note=_ORIGIN + " source_file torch cuda",
            text="model mode hardware accelerator_id precision layout dynamo",
            number="params_M gmacs macts",
            whole="batch img_size",
            measured="samples_per_s step_time_ms",
        ),
    ),
    Format(
        "memory",
        "method",
        ("id", "accelerator_id", "model", "method", "seq_len", "micro_batch"),
        columns(
            note=_ORIGIN,
            text=(
                f"{_STACK} model config method tokens_exact accelerator_id base_dtype attention"
                " measured_kind"
            ),
            whole="seq_len micro_batch grad_accum n_devices tp adapter_rank",
            measured="measured_gb",
        ),
    ),
    Format(
        "cache",
        "kv_tokens",
        ("id", "accelerator_id", "model", "tp", "weights", "kv_tokens"),
        columns(
            note=_ORIGIN,
            text=(
                "model config accelerator_id framework weights kv_dtype vllm_version enforce_eager"
            ),
            number="gpu_memory_utilization",
            whole=(
                "n_devices tp pp attention_dp ep max_model_len max_num_seqs max_num_batched_tokens"
            ),
            measured=(
                "kv_memory_gib_per_device kv_tokens weights_gib_per_device activation_gib"
                " non_torch_gib cuda_graph_gib"
            ),
        ),
    ),
    Format(
        "media",
        "steps",
        ("id", "accelerator_id", "model", "task", "batch", "steps"),
        columns(
            note=_ORIGIN,
            text="model config task accelerator_id framework precision scenario parallel compiled",
            whole="n_devices batch steps height width frames seq_len",
            measured=(
                "latency_s latency_p99_s samples_per_s energy_j_per_sample power_w_per_device"
                " memory_gb_per_device"
            ),
        ),
    ),
    Format(
        "training",
        "global_batch",
        (
            *("id", "family", "params_B", "layers", "hidden", "heads", "vocab", "seq_len"),
            *("accelerator_id", "n_devices", "precision", "global_batch"),
        ),
        columns(
            note=_ORIGIN + " flop_check group_size",
            text=(
                f"{_STACK} family model config hardware accelerator_id interconnect precision task"
                " routing graphs attention_kernel overlap release dispatcher recompute_modules"
                " schedule sequence_packing memory_kind effort"
            ),
            number=("params_B active_params_B grad_accum total_tokens network_gbps_per_device"),
            whole=(
                "nodes layers hidden ffn heads kv_heads vocab experts top_k seq_len n_devices"
                " global_batch micro_batch tp pp vp cp ep etp dp img_size adapter_rank"
            ),
            measured=(
                "tokens_per_s_per_gpu samples_per_s_per_gpu tflops_per_gpu mfu hfu step_time_s"
                " memory_gb_per_gpu gpu_hours wall_days energy_mwh tco2 cost_usd"
            ),
        ),
    ),
)
FORMATS: Mapping[str, Format] = {one.name: one for one in _ALL}
