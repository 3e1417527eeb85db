"""Megatron-Core's settings: arguments of Megatron-LM's script, and a Megatron-Bridge recipe."""

from __future__ import annotations

from typing import Any

from costsim.architectures.layers import FeedForward, Layer, SelfAttention
from costsim.architectures.transformer import Transformer
from costsim.launching.writing.recipe import Recipe
from costsim.launching.writing.text import header, quoted

_SHARDING = {1: "optim", 2: "optim_grads", 3: "optim_grads_params"}
_OPTIMIZERS = {"adam": "adam", "adamw": "adam", "sgd": "sgd", "muon": "muon"}
_EXCHANGES = {"ring": "p2p", "all_to_all": "a2a"}
RECOMPUTED = {
    "selective": ("selective", ("core_attn",)),
    "elementwise": ("selective", ("layernorm", "moe_act")),
    "feed_forward": ("selective", ("mlp",)),
    "full": ("full", ()),
}
"""Modes as Megatron-Core has them: granularity and modules."""
_FORMATS = {
    "fp8": {"bf16": True, "fp8_format": "hybrid"},
    "mxfp8": {"bf16": True, "fp8_format": "e4m3", "fp8_recipe": "mxfp8"},
    "nvfp4": {"bf16": True, "fp4_format": "e2m1"},
    "bf16": {"bf16": True},
    "fp16": {"fp16": True},
}
BRIDGE_FORMATS = {
    "bf16": "bf16_mixed",
    "fp16": "fp16_mixed",
    "fp8": "bf16_with_fp8_delayed_scaling_mixed",
    "mxfp8": "bf16_with_mxfp8_mixed",
    "nvfp4": "bf16_with_nvfp4_mixed",
}
"""Recipes as Megatron-Bridge names them."""


def megatron(recipe: Recipe) -> dict[str, str]:
    """Return the script that starts Megatron-LM's `pretrain_gpt.py` on each node."""
    s = recipe.strategy
    groups: dict[str, dict[str, Any]] = {
        "MODEL": shape(recipe),
        "PARALLEL": {**parallel(recipe), **_sharding(recipe)},
        "TRAINING": {
            "micro_batch_size": s.micro_batch,
            "global_batch_size": recipe.global_batch,
            "seq_length": recipe.sequence,
            "train_iters": recipe.steps,
            "optimizer": _OPTIMIZERS.get(recipe.optimizer),
            **_FORMATS.get(recipe.precision, {}),
            **_recompute(recipe),
            "optimizer_cpu_offload": s.offload == "optimizer",
            "use_precision_aware_optimizer": s.offload == "optimizer",
        },
    }
    lines = [
        *header(recipe, "Megatron-LM: run on each node; NODE_RANK and MASTER_ADDR say which."),
        "set -euo pipefail",
        *([] if s.zero > 1 else ["export CUDA_DEVICE_MAX_CONNECTIONS=1"]),
        "DISTRIBUTED_ARGS=(",
        f"    --nnodes {recipe.nodes}",
        f"    --nproc_per_node {recipe.per_node}",
        "    --node_rank ${NODE_RANK:-0}",
        "    --master_addr ${MASTER_ADDR:-localhost}",
        "    --master_port ${MASTER_PORT:-29500}",
        ")",
    ]
    for name, settings in groups.items():
        lines += [f"{name}_ARGS=(", *(f"    {one}" for one in _flags(settings)), ")"]
    lines += [
        "DATA_ARGS=(",
        "    --data-path ${DATA_PATH}",
        "    --tokenizer-type HuggingFaceTokenizer",
        f"    --tokenizer-model ${{TOKENIZER:-{quoted(recipe.checkpoint)}}}",
        "    --lr ${LR}",
        "    --save ${CHECKPOINTS}",
        "    --save-interval 500",
        ")",
        "torchrun ${DISTRIBUTED_ARGS[@]} pretrain_gpt.py \\",
        "    ${MODEL_ARGS[@]} ${PARALLEL_ARGS[@]} ${TRAINING_ARGS[@]} ${DATA_ARGS[@]}",
    ]
    return {"megatron.sh": "\n".join(lines) + "\n"}


def bridge(recipe: Recipe) -> dict[str, str]:
    """Return a Megatron-Bridge recipe: the values that its training scripts take over others."""
    import yaml

    s = recipe.strategy
    mode, modules = RECOMPUTED.get(s.recompute, (None, ()))
    model: dict[str, Any] = {**parallel(recipe), "seq_length": recipe.sequence}
    if mode:
        model["recompute_granularity"] = mode
    if mode == "full":
        model |= {"recompute_method": "uniform", "recompute_num_layers": 1}
    if modules:
        model["recompute_modules"] = list(modules)
    sharded = s.zero > 1
    tree: dict[str, Any] = {
        "model": {k: v for k, v in model.items() if v is not None and v is not False},
        "train": {
            "micro_batch_size": s.micro_batch,
            "global_batch_size": recipe.global_batch,
            "train_iters": recipe.steps,
        },
        "dataset": {"sequence_length": recipe.sequence},
        "ddp": {"use_distributed_optimizer": s.zero > 0},
        "optimizer": {"optimizer": _OPTIMIZERS.get(recipe.optimizer, "adam")},
    }
    if sharded:
        strategy = _SHARDING[s.zero]
        tree["ddp"] |= {"use_megatron_fsdp": True, "data_parallel_sharding_strategy": strategy}
    if s.offload == "optimizer":
        tree["optimizer"]["optimizer_cpu_offload"] = True
    if recipe.precision in BRIDGE_FORMATS:
        tree["mixed_precision"] = BRIDGE_FORMATS[recipe.precision]
    if recipe.adapter:
        tree["peft"] = {"dim": recipe.adapter.get("rank", 16)}
    about = (
        f"Megatron-Bridge: the recipe of {recipe.checkpoint} with these values, on {recipe.nodes} "
        f"nodes of {recipe.per_node}."
    )
    lines = header(recipe, about)[1:]
    return {"bridge.yaml": "\n".join([*lines, yaml.safe_dump(tree, sort_keys=False)])}


def parallel(recipe: Recipe) -> dict[str, Any]:
    """Return the degrees of parallelism by Megatron-Core's names."""
    s = recipe.strategy
    return {
        "tensor_model_parallel_size": s.tp,
        "pipeline_model_parallel_size": s.pp,
        "num_virtual_stages_per_pipeline_rank": s.vp if s.vp > 1 else None,
        "context_parallel_size": s.cp,
        "cp_comm_type": _EXCHANGES[s.cp_exchange] if s.cp > 1 else None,
        "expert_model_parallel_size": s.ep if s.ep > 1 else None,
        "expert_tensor_parallel_size": s.etp if s.ep > 1 or s.etp > 1 else None,
        "sequence_parallel": s.sp,
    }


def _sharding(recipe: Recipe) -> dict[str, Any]:
    zero = recipe.strategy.zero
    if zero < 2:
        return {"use_distributed_optimizer": zero == 1}
    return {
        "use_distributed_optimizer": True,
        "use_megatron_fsdp": True,
        "data_parallel_sharding_strategy": _SHARDING[zero],
        "no_gradient_accumulation_fusion": True,
        "ckpt_format": "fsdp_dtensor",
    }


def _recompute(recipe: Recipe) -> dict[str, Any]:
    mode, modules = RECOMPUTED.get(recipe.strategy.recompute, (None, ()))
    found: dict[str, Any] = {"recompute_granularity": mode}
    if mode == "full":
        found |= {"recompute_method": "uniform", "recompute_num_layers": 1}
    if modules:
        found["recompute_modules"] = " ".join(modules)
    return found


def shape(recipe: Recipe) -> dict[str, Any]:
    """Return the sizes of a plain decoder; empty where the arguments cannot say the model's."""
    model = recipe.model.description
    if not isinstance(model, Transformer) or len(model.layers) != 1:
        return {}
    layer, count = model.layers[0]
    if not isinstance(layer, Layer):
        return {}
    mixer, network = layer.mixer, layer.feed_forward
    if not isinstance(mixer, SelfAttention) or not isinstance(network, FeedForward):
        return {}
    if network.activation != ("silu" if network.gated else "gelu") or layer.parallel:
        return {}
    grouped = mixer.kv_heads != mixer.heads
    longest = max(recipe.sequence, int(model.positions or model.context_limit or 0))
    return {
        "num_layers": count,
        "hidden_size": model.hidden,
        "num_attention_heads": mixer.heads,
        "group_query_attention": grouped,
        "num_query_groups": mixer.kv_heads if grouped else None,
        "kv_channels": mixer.head_dim,
        "ffn_hidden_size": network.width,
        "swiglu": network.gated,
        "disable_bias_linear": not network.bias,
        "add_qkv_bias": mixer.bias and not network.bias,
        "qk_layernorm": mixer.query_key_norm is not None,
        "normalization": "RMSNorm" if layer.norm.kind == "rms" else "LayerNorm",
        "position_embedding_type": "rope" if mixer.rotary else "learned_absolute",
        "max_position_embeddings": longest,
        "vocab_size": model.vocabulary,
        "untie_embeddings_and_output_weights": not model.tied,
    }


def _flags(settings: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, value in settings.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            lines.append(flag)
        elif value is not None and value is not False:
            lines.append(f"{flag} {value}")
    return lines
