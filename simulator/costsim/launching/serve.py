"""The command line of `vllm serve`."""

from __future__ import annotations

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
    "awq": "w4a16",
    "awq_marlin": "w4a16",
    "gptq": "w4a16",
    "gptq_marlin": "w4a16",
    "modelopt_fp4": "nvfp4",
}
_DTYPES = {"bfloat16": "bf16", "float16": "bf16", "half": "bf16", "auto": None}
_CACHES = {"auto": None, "fp8": "fp8", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "bfloat16": "bf16"}
_REACHED = "says where it is reached, not what it costs"
_ADDRESS: dict[str, str] = {
    "host": _REACHED,
    "port": _REACHED,
    "api_key": _REACHED,
    "served_model_name": _REACHED,
    "trust_remote_code": _REACHED,
    "download_dir": _REACHED,
}


def read_vllm(command: Command) -> Imported:
    """Return the scenario of a `vllm serve` command."""
    values: dict[str, object] = {
        name.lstrip("-").replace("-", "_"): value for name, value in command.options.items()
    }
    named = [word for word in command.words if word not in ("vllm", "serve", "exec", "python")]
    if named and "model" not in values:
        values["model"] = named[-1]
    settings = Settings(values)
    settings.put("workload.kind", "inference")
    settings.put("workload.engine", "vllm")
    settings.take("model", "model", str)
    settings.take("dtype", "hardware.precision", one_of(_DTYPES))
    settings.take("quantization", "hardware.precision", one_of(_WEIGHTS))
    settings.take("kv_cache_dtype", "hardware.cache", one_of(_CACHES))
    _replica(settings)
    return settings.finish("vllm serve", NEEDS, _ADDRESS)


def _replica(settings: Settings) -> None:
    """Devices of a replica: its tensor- and pipeline-parallel ranks."""
    names = {
        "tensor_parallel_size": ("tensor_parallel_size", "tp"),
        "pipeline_parallel_size": ("pipeline_parallel_size", "pp"),
    }
    devices, found = 1, False
    for spellings in names.values():
        for name in spellings:
            size = settings.get(name, whole)
            if size is not None:
                devices, found = devices * size, True
                settings.use("hardware.replica_devices", name)
    if found:
        settings.put("hardware.replica_devices", devices)
