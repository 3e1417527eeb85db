"""Settings of DeepSpeed, torchtitan and the Hugging Face Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from costsim.launching.imported import (
    TRAINING_NEEDS,
    Imported,
    Settings,
    degree,
    flag,
    one_of,
    whole,
)

_OPTIMIZERS = {
    "adam": "adam",
    "adamw": "adamw",
    "fusedadam": "adamw",
    "cpuadam": "adamw",
    "deepspeedcpuadam": "adamw",
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "adamw_hf": "adamw",
    "adamw_apex_fused": "adamw",
    "adamw_8bit": "adam_8bit",
    "adamw_bnb_8bit": "adam_8bit",
    "paged_adamw_8bit": "adam_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "muon": "muon",
}
_RATES = "sets how well it learns, not what a step costs"
_LEARNING = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_ratio",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "seed",
    "gradient_clipping",
    "optimizer.lr",
    "lr_scheduler.warmup_steps",
    "training.max_norm",
    "training.seed",
)
_NO_MODEL = "no model of the catalogue is known by this name"
_REASONS: dict[str, str] = {
    **{name: _RATES for name in _LEARNING},  # noqa: C420 (its type)
    "model.name": _NO_MODEL,
    "model.flavor": _NO_MODEL,
}


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted names."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= flat(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def read_deepspeed(tree: Mapping[str, Any]) -> Imported:
    """Return the scenario of a DeepSpeed JSON configuration."""
    settings = Settings(flat(tree))
    settings.put("workload.kind", "training")
    settings.put("workload.software", "deepspeed")
    settings.take("train_batch_size", "workload.global_batch", whole)
    settings.take("train_micro_batch_size_per_gpu", "strategy.micro_batch", whole)
    settings.take("tensor_parallel.autotp_size", "strategy.tp", degree)
    settings.take("expert_parallel.autoep_size", "strategy.ep", degree)
    _devices(settings)
    settings.take("zero_optimization.stage", "strategy.zero", _zero_stage)
    _offload(settings)
    _formats(settings, "bf16.enabled", "fp16.enabled")
    settings.take("optimizer.type", "workload.optimizer", one_of(_OPTIMIZERS))
    return settings.finish("DeepSpeed", TRAINING_NEEDS, _REASONS)


def _devices(settings: Settings) -> None:
    """Devices where micro-batch, accumulation and global batch fix them."""
    micro = settings.get("train_micro_batch_size_per_gpu", whole)
    passes = settings.get("gradient_accumulation_steps", whole)
    batch = settings.get("train_batch_size", whole)
    if micro and passes and batch and batch % (micro * passes) == 0:
        ranks = settings.scenario.get("strategy", {}).get("tp", 1)
        settings.put("hardware.devices", batch // (micro * passes) * ranks)
        settings.use("hardware.devices", "gradient_accumulation_steps")


def _offload(settings: Settings) -> None:
    hosts = one_of({"cpu": True, "nvme": True, "none": False})
    placed = {
        part: settings.take(f"zero_optimization.offload_{part}.device", "strategy.offload", hosts)
        for part in ("optimizer", "param")
    }
    settings.scenario.get("strategy", {}).pop("offload", None)
    kept = {(True, False): "optimizer", (False, True): "parameters", (True, True): "states"}
    found = kept.get((bool(placed["optimizer"]), bool(placed["param"])))
    if found:
        settings.put("strategy.offload", found)


def _formats(settings: Settings, bf16: str, fp16: str) -> None:
    for setting, dtype in ((bf16, "bf16"), (fp16, "fp16")):
        settings.take(setting, "", flag)
        if settings.get(setting, flag, False):
            settings.put("workload.precision", dtype)
            settings.used[setting] = "workload.precision"


def _zero_stage(value: Any) -> int:
    stage = int(value)
    if not 0 <= stage <= 3:
        raise ValueError("ZeRO has stages 0 to 3")
    return stage


def read_torchtitan(tree: Mapping[str, Any]) -> Imported:
    """Return the scenario of a torchtitan TOML configuration, of old and new releases."""
    settings = Settings(flat(tree))
    settings.put("workload.kind", "training")
    settings.put("workload.software", "torchtitan")
    family = settings.get("model.name", str)
    flavour = settings.get("model.flavor", str)
    model = _titan_model(f"{family}-{flavour}".lower())
    if model:
        settings.put("model", model)
        settings.use("model", "model.name", "model.flavor")
    for names, path in (
        (("training.seq_len",), "workload.sequence"),
        (("training.global_batch_size",), "workload.global_batch"),
        (("training.local_batch_size", "training.batch_size"), "strategy.micro_batch"),
        (_degrees("tensor_parallel_degree"), "strategy.tp"),
        (_degrees("pipeline_parallel_degree"), "strategy.pp"),
        (_degrees("context_parallel_degree"), "strategy.cp"),
        (_degrees("expert_parallel_degree"), "strategy.ep"),
        (_degrees("expert_tensor_parallel_degree"), "strategy.etp"),
    ):
        for name in names:
            settings.take(name, path, degree)
    _titan_tokens(settings)
    settings.take("model.converters", "workload.precision", _converted)
    if settings.get("training.enable_cpu_offload", flag, False):
        settings.put("strategy.offload", "states")
    settings.use("strategy.offload", "training.enable_cpu_offload")
    low = {"bfloat16": None, "float32": "fp32"}
    settings.take("training.mixed_precision_param", "workload.precision", one_of(low))
    recompute = one_of({"none": "none", "full": "full", "selective": "save_weight_products"})
    settings.take("activation_checkpoint.mode", "strategy.recompute", recompute)
    settings.take("optimizer.name", "workload.optimizer", one_of(_OPTIMIZERS))
    schedules = {
        "1f1b": "1f1b",
        "interleaved1f1b": "1f1b",
        "gpipe": "gpipe",
        "zbvzerobubble": "zb_h1",
        "interleavedzerobubble": "zb_h1",
    }
    if (settings.scenario.get("strategy", {}).get("pp") or 1) > 1:
        name = "parallelism.pipeline_parallel_microbatch_size"
        settings.take(name, "strategy.micro_batch", whole)
    for name in _degrees("pipeline_parallel_schedule"):
        settings.take(name, "strategy.schedule", one_of(schedules))
    _shards(settings)
    return settings.finish("torchtitan", TRAINING_NEEDS, _REASONS)


_TITAN_MODELS = {
    "llama3-8b": "llama-3-8b",
    "llama3-70b": "llama-3-70b",
    "llama3-405b": "llama-3.1-405b",
    "deepseek_v3-671b": "deepseek-v3",
}
"""Models of the catalogue by torchtitan's family and flavour; its Qwen3 are named alike."""


def _titan_model(name: str) -> str | None:
    return _TITAN_MODELS.get(name) or (name if name.startswith("qwen3-") else None)


def _converted(value: Any) -> str | None:
    """Return the recipe of torchtitan's converters; None where they change no format."""
    listed = [value] if isinstance(value, str) else cast("list[object]", value)
    words = " ".join(str(word) for word in listed).split()
    formats = {"quantize.linear.float8": "fp8", "float8": "fp8", "quantize.linear.mx": "mxfp8"}
    unknown = [word for word in words if word not in formats and "grouped_mm" not in word]
    if unknown:
        raise ValueError(f"`{unknown[0]}` changes what a step costs in a way unknown here")
    return next((formats[word] for word in words if word in formats), None)


def _degrees(name: str) -> tuple[str, ...]:
    return tuple(f"{table}.{name}" for table in ("parallelism", "training", "experimental"))


def _shards(settings: Settings) -> None:
    """FSDP where the weights are sharded; replicas beside it multiply the devices."""
    shard = [settings.get(name, int) for name in _degrees("data_parallel_shard_degree")]
    sharded = next((value for value in shard if value is not None), -1)
    kept = settings.get("parallelism.fsdp_reshard_after_forward", str) == "never"
    settings.put("strategy.zero", 0 if sharded == 1 else 2 if kept else 3)
    settings.use("strategy.zero", *_degrees("data_parallel_shard_degree"))
    settings.use("strategy.zero", "parallelism.fsdp_reshard_after_forward")
    copies = [settings.get(name, int) for name in _degrees("data_parallel_replicate_degree")]
    replicated = next((value for value in copies if value is not None), 1)
    strategy = settings.scenario["strategy"]
    if sharded > 0:
        model = [strategy.get(axis) or 1 for axis in ("tp", "pp", "cp")]
        settings.put("hardware.devices", sharded * replicated * model[0] * model[1] * model[2])
        settings.use("hardware.devices", *_degrees("data_parallel_replicate_degree"))


def _titan_tokens(settings: Settings) -> None:
    workload = settings.scenario["workload"]
    steps = settings.get("training.steps", whole)
    if steps and "global_batch" in workload and "sequence" in workload:
        settings.put("workload.tokens", steps * workload["global_batch"] * workload["sequence"])
        settings.use("workload.tokens", "training.steps")


def read_trainer(values: Mapping[str, Any]) -> Imported:
    """Return the scenario of Hugging Face TrainingArguments (names without dashes)."""
    settings = Settings(values)
    settings.put("workload.kind", "training")
    settings.take("model_name_or_path", "model", str)
    for name in ("max_seq_length", "max_length", "block_size", "model_max_length"):
        settings.take(name, "workload.sequence", whole)
    settings.take("per_device_train_batch_size", "strategy.micro_batch", whole)
    _formats(settings, "bf16", "fp16")
    settings.take("optim", "workload.optimizer", one_of(_OPTIMIZERS))
    if settings.get("gradient_checkpointing", flag) is not None:
        settings.take(
            "gradient_checkpointing", "strategy.recompute", lambda v: "full" if flag(v) else "none"
        )
    settings.take("fsdp", "strategy.zero", _fsdp)
    nodes, each = settings.get("nnodes", whole, 1), settings.get("nproc_per_node", whole)
    if each is not None:
        _batch_of(settings, nodes * each)
        settings.use("hardware.devices", "nnodes", "nproc_per_node")
    rank = settings.get("lora_r", whole)
    if rank is not None:
        settings.put("workload.adapter", {"rank": rank})
        settings.use("workload.adapter", "lora_r")
    return settings.finish("Hugging Face TrainingArguments", TRAINING_NEEDS, _REASONS)


def _fsdp(value: Any) -> int | None:
    words = str(value).split()
    if "full_shard" in words or "hybrid_shard" in words:
        return 3
    if "shard_grad_op" in words:
        return 2
    if not words or words == ["false"]:
        return None
    raise ValueError("known here are full_shard, hybrid_shard and shard_grad_op")


def _batch_of(settings: Settings, devices: int) -> None:
    """The global batch and the tokens that a number of devices makes of per-device settings."""
    settings.put("hardware.devices", devices)
    micro = settings.get("per_device_train_batch_size", whole)
    passes = settings.get("gradient_accumulation_steps", whole, 1)
    if micro is None:
        return
    batch = micro * passes * devices
    settings.put("workload.global_batch", batch)
    settings.use("workload.global_batch", "gradient_accumulation_steps")
    steps = settings.get("max_steps", whole)
    sequence = settings.scenario["workload"].get("sequence")
    if steps and sequence:
        settings.put("workload.tokens", steps * batch * sequence)
        settings.use("workload.tokens", "max_steps")
