"""torchtitan TOML, DeepSpeed JSON, and the Hugging Face Trainer with Accelerate."""

from __future__ import annotations

import json
from typing import Any

from costsim.launching.writing.recipe import Recipe
from costsim.launching.writing.text import header, one_line, quoted

_TITAN_FAMILIES = {
    "llama-3-": "llama3",
    "llama-3.1-": "llama3",
    "qwen3-": "qwen3",
    "deepseek-v3": "deepseek_v3",
}
_TITAN_RECOMPUTE = {"none": "none", "full": "full", "save_weight_products": "selective"}
_TITAN_OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW"}
_TITAN_FORMATS = {"fp8": "quantize.linear.float8", "mxfp8": "quantize.linear.mx"}
_SCHEDULES = {"1f1b": "1F1B", "gpipe": "GPipe", "zb_h1": "ZBVZeroBubble", "dualpipe": "DualPipeV"}
_OPTIMIZERS = {
    "adam": "adamw_torch_fused",
    "adamw": "adamw_torch_fused",
    "adam_8bit": "adamw_bnb_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
}
_FSDP = {2: "shard_grad_op", 3: "full_shard"}


def torchtitan(recipe: Recipe) -> dict[str, str]:
    """Return a torchtitan configuration."""
    s = recipe.strategy
    family, flavour = _titan_name(recipe)
    schedule = "Interleaved1F1B" if s.schedule == "1f1b" and s.vp > 1 else _SCHEDULES[s.schedule]
    model: dict[str, Any] = {"name": family, "flavor": flavour}
    if recipe.precision in _TITAN_FORMATS:
        model["converters"] = [_TITAN_FORMATS[recipe.precision]]
    low = "float32" if recipe.precision in ("fp32", "tf32") else "bfloat16"
    tables: dict[str, dict[str, Any]] = {
        "model": model,
        "training": {
            "local_batch_size": s.micro_batch,
            "global_batch_size": recipe.global_batch,
            "seq_len": recipe.sequence,
            "steps": recipe.steps,
            "mixed_precision_param": low,
            "enable_cpu_offload": s.offload in ("states", "everything"),
        },
        "parallelism": {
            "data_parallel_replicate_degree": 1 if s.zero > 1 else s.dp,
            "data_parallel_shard_degree": s.dp if s.zero > 1 else 1,
            "fsdp_reshard_after_forward": "never" if s.zero == 2 else "default",
            "tensor_parallel_degree": s.tp,
            "pipeline_parallel_degree": s.pp,
            "context_parallel_degree": s.cp,
            "expert_parallel_degree": s.ep,
        },
        "activation_checkpoint": {"mode": _TITAN_RECOMPUTE.get(s.recompute, "none")},
        "optimizer": {"name": _TITAN_OPTIMIZERS.get(recipe.optimizer, "AdamW")},
    }
    if s.pp > 1:
        tables["training"]["local_batch_size"] = s.micro_batch * recipe.passes
        tables["parallelism"] |= {
            "pipeline_parallel_schedule": schedule,
            "pipeline_parallel_microbatch_size": s.micro_batch,
        }
    about = "torchtitan to 0.2 reads this file; from 0.3 the same names are flags."
    run = f"torchrun --nnodes {recipe.nodes} --nproc_per_node {recipe.per_node} -m torchtitan.train"
    lines = [*header(recipe, about)[1:], f"# {run} --job.config_file torchtitan.toml"]
    for table, values in tables.items():
        lines += ["", f"[{table}]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())]
    return {"torchtitan.toml": "\n".join(lines) + "\n"}


def _titan_name(recipe: Recipe) -> tuple[str, str]:
    name = one_line(recipe.named or recipe.model.name)
    for prefix, family in _TITAN_FAMILIES.items():
        if name.startswith(prefix):
            return family, name.removeprefix(prefix).lstrip("-").upper() or "671B"
    return name, "as registered"


def deepspeed(recipe: Recipe) -> dict[str, str]:
    """Return DeepSpeed's configuration, and the command that runs a training script with it."""
    s = recipe.strategy
    zero: dict[str, Any] = {"stage": s.zero, "overlap_comm": True, "contiguous_gradients": True}
    if s.offload in ("optimizer", "all", "states", "everything"):
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if s.offload in ("parameters", "states", "everything"):
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    tree: dict[str, Any] = {
        "train_batch_size": recipe.global_batch,
        "train_micro_batch_size_per_gpu": s.micro_batch,
        "gradient_accumulation_steps": recipe.passes,
        "zero_optimization": zero,
        "bf16": {"enabled": recipe.precision not in ("fp16", "fp32", "tf32")},
        "fp16": {"enabled": recipe.precision == "fp16"},
    }
    if s.tp > 1:
        tree["tensor_parallel"] = {"autotp_size": s.tp}
    if recipe.optimizer in ("adam", "adamw"):
        tree["optimizer"] = {"type": "AdamW", "params": {"lr": "auto", "weight_decay": "auto"}}
    lines = [
        *header(recipe, "DeepSpeed: run on one node; `hostfile` names all of them."),
        "set -euo pipefail",
        f"deepspeed --hostfile ${{HOSTFILE:-hostfile}} --num_nodes {recipe.nodes} "
        f"--num_gpus {recipe.per_node} ${{SCRIPT:-train.py}} \\",
        f"    --model_name_or_path {quoted(recipe.checkpoint)} --deepspeed deepspeed.json",
    ]
    return {
        "deepspeed.json": json.dumps(tree, indent=2) + "\n",
        "deepspeed.sh": "\n".join(lines) + "\n",
    }


def fsdp(recipe: Recipe) -> dict[str, str]:
    """Return TrainingArguments and Accelerate's configuration, for FSDP."""
    import yaml

    s = recipe.strategy
    arguments: dict[str, Any] = {
        "model_name_or_path": recipe.checkpoint,
        "output_dir": "checkpoints",
        "per_device_train_batch_size": s.micro_batch,
        "gradient_accumulation_steps": recipe.passes,
        "max_steps": recipe.steps,
        "bf16": recipe.precision not in ("fp16", "fp32", "tf32"),
        "fp16": recipe.precision == "fp16",
        "tf32": recipe.precision != "fp32",
        "gradient_checkpointing": s.recompute == "full",
    }
    if recipe.counts == "tokens":
        arguments["max_length"] = recipe.sequence
    if recipe.optimizer in _OPTIMIZERS:
        arguments["optim"] = _OPTIMIZERS[recipe.optimizer]
    if s.zero > 1:
        arguments["fsdp"] = f"{_FSDP[s.zero]} auto_wrap"
    if recipe.adapter:
        arguments |= {"use_peft": True, "lora_r": recipe.adapter.get("rank", 16)}
        if "targets" in recipe.adapter:
            arguments["lora_target_modules"] = list(recipe.adapter["targets"])
    accelerate: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP" if s.zero > 1 else "MULTI_GPU",
        "num_machines": recipe.nodes,
        "num_processes": recipe.devices,
        "mixed_precision": "fp16" if recipe.precision == "fp16" else "bf16",
        "machine_rank": 0,
        "main_training_function": "main",
    }
    if recipe.precision in ("fp32", "tf32"):
        accelerate["mixed_precision"] = "no"
    if s.zero > 1:
        accelerate["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_reshard_after_forward": s.zero == 3,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_offload_params": s.offload in ("states", "everything"),
            "fsdp_activation_checkpointing": False,
            "fsdp_state_dict_type": "SHARDED_STATE_DICT",
        }
    about = "Arguments of a script of the Hugging Face Trainer (TrainingArguments, TRL)."
    run = "accelerate launch --config_file accelerate.yaml train.py --config trainer.yaml"
    top = [*header(recipe, about)[1:], f"# {run}"]
    return {
        "trainer.yaml": "\n".join([*top, yaml.safe_dump(arguments, sort_keys=False)]),
        "accelerate.yaml": yaml.safe_dump(accelerate, sort_keys=False),
    }
