"""Command lines that start a serving engine: vLLM, SGLang, TensorRT-LLM."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from costsim.launching.imported import Imported, Settings, one_of, whole
from costsim.launching.shell import Command

NEEDS = {
    "model": "model: a name that `costsim models` lists, or the path of a config.json",
    "workload.requests_per_s": "workload.requests_per_s: requests a second at the busiest time",
    "workload.input_tokens": "workload.input_tokens: mean tokens of a prompt",
    "workload.output_tokens": "workload.output_tokens: mean tokens generated",
    "hardware.system": "hardware.system: an id that `costsim hardware` lists",
}
"""What a scenario of a service cannot do without, and how to state it."""

_WEIGHTS = {
    "fp8": "fp8",
    "fbgemm_fp8": "fp8",
    "awq": "w4a16",
    "awq_marlin": "w4a16",
    "gptq": "w4a16",
    "gptq_marlin": "w4a16",
    "modelopt_fp4": "nvfp4",
    "modelopt": "fp8",
    "mxfp4": "mxfp4",
}
_DTYPES = {"bfloat16": "bf16", "float16": "bf16", "half": "bf16", "bf16": "bf16", "auto": None}
_CACHES = {"auto": None, "fp8": "fp8", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "bfloat16": "bf16"}
_REACHED = "says where it is reached, not what it costs"
_LOADED = "says how the checkpoint is read, not what it costs"
_PARSED = "parses what is generated, which costs no device time"
_LAYOUT = "layouts of a replica are searched: `hardware.replica_devices` says its devices"
_CACHED = "say the share of prompts that a prefix cache has: `workload.cached`"
_WORDS = {
    _REACHED: "host port api_key served_model_name root_path uvicorn_log_level",
    _LOADED: "trust_remote_code download_dir load_format tokenizer tokenizer_mode config_format "
    "revision hf_overrides",
    _PARSED: "tool_call_parser reasoning_parser enable_auto_tool_choice chat_template "
    "enable_reasoning tool_parser",
}
_REASONS: dict[str, str] = {
    **{name: why for why, names in _WORDS.items() for name in names.split()},
    "enable_expert_parallel": _LAYOUT,
    "ep_size": _LAYOUT,
    "enable_dp_attention": _LAYOUT,
    "enable_prefix_caching": _CACHED,
    "no_enable_prefix_caching": _CACHED,
    "enable_chunked_prefill": "as the engine's release has it; `workload.scheduler` says otherwise",
    "swap_space": "preempted requests are computed again, as the engine does by default",
    "enforce_eager": "captured graphs are taken as the engine has them by default",
}


@dataclass(frozen=True, slots=True)
class Flags:
    """How an engine calls what a scenario has; names with underscores."""

    title: str
    model: str
    degrees: tuple[tuple[str, ...], ...]
    settings: Mapping[str, tuple[str, ...]]
    words: frozenset[str] = field(default_factory=frozenset[str])


_ENGINES: Mapping[str, Flags] = {
    "vllm": Flags(
        "vllm serve",
        "model",
        (
            ("tensor_parallel_size", "tp"),
            ("pipeline_parallel_size", "pp"),
            ("data_parallel_size", "dp"),
            ("prefill_context_parallel_size",),
        ),
        {
            "gpu_memory_utilization": ("gpu_memory_utilization",),
            "max_model_len": ("max_model_len",),
            "max_num_seqs": ("max_num_seqs",),
            "max_num_batched_tokens": ("max_num_batched_tokens",),
            "block_size": ("block_size",),
        },
    ),
    "sglang": Flags(
        "SGLang",
        "model_path",
        (("tp_size", "tp", "tensor_parallel_size"), ("pp_size",), ("attn_cp_size",)),
        {
            "gpu_memory_utilization": ("mem_fraction_static",),
            "max_model_len": ("context_length",),
            "max_num_batched_tokens": ("chunked_prefill_size",),
            "block_size": ("page_size",),
        },
    ),
    "tensorrt-llm": Flags(
        "trtllm-serve",
        "model",
        (("tp_size", "tensor_parallel_size"), ("pp_size", "pipeline_parallel_size"), ("cp_size",)),
        {
            "gpu_memory_utilization": (
                "kv_cache_free_gpu_memory_fraction",
                "free_gpu_memory_fraction",
            ),
            "max_model_len": ("max_seq_len",),
            "max_num_seqs": ("max_batch_size",),
            "max_num_batched_tokens": ("max_num_tokens",),
        },
    ),
}
_STARTERS = ("vllm", "serve", "exec", "python", "python3", "trtllm-serve", "bash")


def engine_of(command: Command, text: str) -> str | None:
    """Return the engine that a script starts; None where it starts none."""
    if "vllm" in command.words or "vllm.entrypoints" in text:
        return "vllm"
    if "sglang.launch_server" in text:
        return "sglang"
    return "tensorrt-llm" if "trtllm-serve" in command.words else None


def read_engine(command: Command, engine: str) -> Imported:
    """Return the scenario of a command that starts an engine."""
    flags = _ENGINES[engine]
    values: dict[str, object] = {
        name.lstrip("-").replace("-", "_"): value for name, value in command.options.items()
    }
    values.pop("m", None)  # of `python -m`
    named = _named(command)
    if named and not {flags.model, "model"} & values.keys():
        values[flags.model] = named
    settings = Settings(values)
    settings.put("workload.kind", "inference")
    settings.put("workload.engine", engine)
    for name in dict.fromkeys((flags.model, "model")):
        settings.take(name, "model", str)
    settings.take("dtype", "hardware.precision", one_of(_DTYPES))
    settings.take("quantization", "hardware.precision", one_of(_WEIGHTS))
    settings.take("kv_cache_dtype", "hardware.cache", one_of(_CACHES))
    for key, names in flags.settings.items():
        convert = _share if key == "gpu_memory_utilization" else whole
        for name in names:
            settings.take(name, f"workload.{key}", convert)
    _replica(settings, flags)
    _running(settings)
    _drafts(settings)
    return settings.finish(flags.title, NEEDS, _REASONS)


def _named(command: Command) -> str:
    """Return the model that stands behind the word `serve`, or alone."""
    words = list(command.words)
    for starter in ("serve", "trtllm-serve"):
        if starter in words and words.index(starter) + 1 < len(words):
            return words[words.index(starter) + 1]
    rest = [word for word in words if word not in _STARTERS and "=" not in word]
    return rest[-1] if rest else ""


def _share(value: Any) -> float:
    share = float(value)
    if not 0 < share <= 1:
        raise ValueError("not a share above 0 and at most 1")
    return share


def _replica(settings: Settings, flags: Flags) -> None:
    """Devices of a replica: the product of its degrees of parallelism."""
    devices, found = 1, False
    for spellings in flags.degrees:
        for name in spellings:
            size = settings.get(name, whole)
            if size is not None:
                devices, found = devices * size, True
                settings.use("hardware.replica_devices", name)
    if found:
        settings.put("hardware.replica_devices", devices)


def _running(settings: Settings) -> None:
    """Requests in a step of one attention rank, of SGLang's limit for all of them."""
    running = settings.get("max_running_requests", whole)
    ranks = settings.get("dp_size", whole, 1) or 1
    if running is not None:
        settings.put("workload.max_num_seqs", max(1, running // ranks))
        settings.use("workload.max_num_seqs", "max_running_requests", "dp_size")


def _drafts(settings: Settings) -> None:
    """Drafts, whose acceptance no command says: named, with what is to be stated."""
    name = "speculative_config"
    if name not in settings.values:
        return
    try:
        stated = json.loads(str(settings.values[name]))
        tokens = stated["num_speculative_tokens"]
    except (ValueError, KeyError, TypeError):
        settings.unused[name] = "not JSON with num_speculative_tokens"
        return
    hint = f"{{tokens: {tokens}, method: {stated.get('method')}, accepted: …}}"
    settings.unused[name] = f"state how many are accepted: `workload.speculation: {hint}`"
