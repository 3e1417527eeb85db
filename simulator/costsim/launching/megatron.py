"""Arguments of Megatron-LM's `pretrain_gpt.py`, and the keys of NeMo and Megatron-Bridge recipes.

The three share Megatron-Core's names; only how they are written differs.
"""

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

PLACES = {
    "tensor_model_parallel_size": "strategy.tp",
    "pipeline_model_parallel_size": "strategy.pp",
    "context_parallel_size": "strategy.cp",
    "expert_model_parallel_size": "strategy.ep",
    "expert_tensor_parallel_size": "strategy.etp",
    "micro_batch_size": "strategy.micro_batch",
    "global_batch_size": "workload.global_batch",
}
"""Degrees and sizes that mean in a scenario what they mean in Megatron-Core."""

_SEQUENCE = ("seq_length", "encoder_seq_length", "sequence_length")
_WORLD = (("nnodes", "nproc_per_node"), ("num_nodes", "devices"))
_SHAPE = {
    "num_layers": "layers",
    "hidden_size": "hidden",
    "num_attention_heads": "heads",
    "ffn_hidden_size": "feed_forward",
    "num_query_groups": "kv_heads",
    "kv_channels": "head_dim",
    "max_position_embeddings": "max_positions",
    "vocab_size": "vocabulary",
    "padded_vocab_size": "vocabulary",
}
_IN_THE_PROFILE = "taken as the software profile has it"
_REASONS = {
    "overlap_grad_reduce": _IN_THE_PROFILE,
    "overlap_param_gather": _IN_THE_PROFILE,
    "tp_comm_overlap": _IN_THE_PROFILE,
    "use_flash_attn": _IN_THE_PROFILE,
    "attention_backend": _IN_THE_PROFILE,
    "overlap_p2p_comm": _IN_THE_PROFILE,
    "gradient_accumulation_fusion": _IN_THE_PROFILE,
    "bias_gelu_fusion": _IN_THE_PROFILE,
    "apply_rope_fusion": _IN_THE_PROFILE,
    "masked_softmax_fusion": _IN_THE_PROFILE,
    "moe_token_dispatcher_type": _IN_THE_PROFILE,
    "moe_grouped_gemm": _IN_THE_PROFILE,
    **dict.fromkeys(
        (*_SHAPE, "activation", "bias", "swiglu", "normalization", "position_embedding_type"),
        "of a model whose vocabulary the file does not say: name the model",
    ),
}
_ITERATIONS = ("train_iters", "max_steps")
_NEMO_OPTIMIZERS = {
    "distributed_fused_adam": "adam",
    "fused_adam": "adam",
    "adam": "adam",
    "adamw": "adam",
    "sgd": "sgd",
}
_NEMO_FSDP = {"full": 3, "hybrid": 3, "grad": 2}
_EXCHANGES = {"p2p": "ring", "a2a": "all_to_all"}
_SHARDED = {"no_shard": 0, "optim": 1, "optim_grads": 2, "optim_grads_params": 3}
_MODULES = {
    frozenset({"core_attn"}): "selective",
    frozenset({"layernorm", "moe_act"}): "elementwise",
    frozenset({"layernorm"}): "elementwise",
    frozenset({"moe_act"}): "elementwise",
    frozenset({"mlp"}): "feed_forward",
    frozenset({"moe"}): "feed_forward",
}


def read_megatron(values: Mapping[str, Any], name: str = "Megatron-LM") -> Imported:
    """Return the scenario of Megatron-Core settings, names with underscores.

    Args:
        values: settings by name.
        name: of the format, for messages.
    """
    settings = Settings(values)
    settings.put("workload.kind", "training")
    settings.put("workload.software", "megatron-core")
    for setting, path in PLACES.items():
        settings.take(setting, path, degree)
    for setting in _SEQUENCE:
        settings.take(setting, "workload.sequence", whole)
    _tokens(settings)
    _world(settings)
    _precision(settings)
    optimizers = {"adam": "adam", "sgd": "sgd", "muon": "muon"}
    for setting in ("optimizer", "optimizer.optimizer"):
        settings.take(setting, "workload.optimizer", one_of(optimizers))
    settings.take("sequence_parallel", "strategy.sp", flag)
    _sharding(settings)
    settings.take("cp_comm_type", "strategy.cp_exchange", one_of(_EXCHANGES))
    settings.take(
        "optimizer_cpu_offload", "strategy.offload", lambda v: "optimizer" if flag(v) else "none"
    )
    _recompute(settings)
    _interleaving(settings)
    _model(settings)
    named = str(settings.values.get("tokenizer.type", ""))
    if "model" not in settings.scenario and "/" in named and "$" not in named:
        settings.take("tokenizer.type", "model", str)
    return settings.finish(name, TRAINING_NEEDS, _REASONS)


def _tokens(settings: Settings) -> None:
    sequence = settings.scenario["workload"].get("sequence")
    if sequence is None:
        return
    if settings.take("train_tokens", "workload.tokens", whole) is not None:
        return  # of Megatron-DeepSpeed, where samples only bound it
    samples = settings.get("train_samples", whole)
    if samples is not None:
        settings.put("workload.tokens", samples * sequence)
        settings.use("workload.tokens", "train_samples")
        return
    batch = settings.scenario["workload"].get("global_batch")
    for setting in _ITERATIONS:
        steps = settings.get(setting, whole)
        if steps is not None and batch is not None:
            settings.put("workload.tokens", steps * batch * sequence)
            settings.use("workload.tokens", setting)


def _world(settings: Settings) -> None:
    for nodes, devices in _WORLD:
        each = settings.get(devices, whole)
        if each is not None:
            settings.put("hardware.devices", settings.get(nodes, whole, 1) * each)
            settings.use("hardware.devices", nodes, devices)


def _precision(settings: Settings) -> None:
    for setting in ("bf16", "fp16"):
        settings.take(setting, "", flag)
        if settings.get(setting, flag, False):
            settings.put("workload.precision", setting)
    words = {
        "bf16": "bf16",
        "bf16-mixed": "bf16",
        "bf16_mixed": "bf16",
        "16-mixed": "fp16",
        "fp16_mixed": "fp16",
        "16": "fp16",
        "32": "fp32",
        "bf16_with_fp8_delayed_scaling_mixed": "fp8",
        "bf16_with_fp8_current_scaling_mixed": "fp8",
        "bf16_with_fp8_subchannel_scaling_mixed": "fp8",
        "bf16_with_mxfp8_mixed": "mxfp8",
        "bf16_with_nvfp4_mixed": "nvfp4",
    }
    settings.take("precision", "workload.precision", one_of(words))
    settings.take("mixed_precision", "workload.precision", one_of(words))
    formats = {"hybrid": "fp8", "e4m3": "fp8", "true": "fp8", "false": None, "none": None}
    settings.take("fp8_format", "workload.precision", one_of(formats))
    settings.take("fp8", "workload.precision", one_of(formats))
    recipes = {"delayed": "fp8", "tensorwise": "fp8", "blockwise": "fp8", "mxfp8": "mxfp8"}
    if settings.scenario["workload"].get("precision") == "fp8":
        settings.take("fp8_recipe", "workload.precision", one_of(recipes))
    settings.take("fp4_format", "workload.precision", one_of({"e2m1": "nvfp4"}))


def _sharding(settings: Settings) -> None:
    """The stage of ZeRO: the distributed optimizer's, or that of Megatron-FSDP."""
    settings.take("use_distributed_optimizer", "strategy.zero", lambda v: 1 if flag(v) else 0)
    if "optim.name" in settings.values:
        adam = settings.take("optim.name", "workload.optimizer", one_of(_NEMO_OPTIMIZERS))
        if adam and "distributed" in str(settings.values["optim.name"]):
            settings.put("strategy.zero", 1)
    if settings.get("fsdp", flag, False):  # of NeMo, whose usual strategy shards all
        found = settings.take("fsdp_sharding_strategy", "strategy.zero", one_of(_NEMO_FSDP))
        settings.put("strategy.zero", 3 if found is None else found)
        settings.use("strategy.zero", "fsdp")
    settings.take("zero_stage", "strategy.zero", int)  # of Megatron-DeepSpeed
    name = "data_parallel_sharding_strategy"
    if settings.get("use_megatron_fsdp", flag, False):
        settings.take(name, "strategy.zero", one_of(_SHARDED))
        settings.use("strategy.zero", "use_megatron_fsdp")


def _modules(value: Any) -> str:
    """Return the mode of recomputation that takes some modules of a layer."""
    listed = isinstance(value, list)
    words = cast("list[object]", value) if listed else str(value).split()
    found = _MODULES.get(frozenset(str(word) for word in words))
    if found is None:
        known = ", ".join(sorted(" ".join(sorted(one)) for one in _MODULES))
        raise ValueError(f"known here are {known}")
    return found


def _recompute(settings: Settings) -> None:
    mode = one_of({"full": "full", "selective": "selective", "none": "none", "null": "none"})
    settings.take("recompute_granularity", "strategy.recompute", mode)
    settings.take("activations_checkpoint_granularity", "strategy.recompute", mode)
    selected = one_of({"": "selective", "true": "selective", "false": "none"})
    settings.take("recompute_activations", "strategy.recompute", selected)
    settings.take(
        "checkpoint_activations", "strategy.recompute", lambda v: "full" if flag(v) else "none"
    )
    if settings.scenario.get("strategy", {}).get("recompute") == "selective":
        settings.take("recompute_modules", "strategy.recompute", _modules)


def _interleaving(settings: Settings) -> None:
    """Model chunks a stage: stated, or layers over pp times the layers of a chunk."""
    for name in ("virtual_pipeline_model_parallel_size", "num_virtual_stages_per_pipeline_rank"):
        settings.take(name, "strategy.vp", degree)
    each = settings.get("num_layers_per_virtual_pipeline_stage", whole)
    layers = settings.get("num_layers", whole)
    if each is not None and layers is not None:
        stages = settings.scenario.get("strategy", {}).get("pp") or 1
        settings.put("strategy.vp", max(layers // (stages * each), 1))
        settings.use("strategy.vp", "num_layers_per_virtual_pipeline_stage")


def _model(settings: Settings) -> None:
    """Describe the decoder where the settings hold its sizes."""
    sizes = {"num_layers", "hidden_size", "num_attention_heads"}
    if not sizes <= settings.values.keys():
        return
    if max(settings.get(n, whole, 1) or 1 for n in ("num_experts", "num_moe_experts")) > 1:
        _mixture(settings)
        return
    shape: dict[str, Any] = {}
    for setting, key in _SHAPE.items():
        value = settings.get(setting, whole)
        if value is not None:
            shape[key] = value
            settings.use(f"model.{key}", setting)
    swiglu = settings.get("swiglu", flag, False)
    shape |= {"gated": swiglu, "activation": "silu" if swiglu else "gelu"}
    positions = {
        "rope": "rotary",
        "rotary": "rotary",
        "learned_absolute": "learned",
        "none": "none",
    }
    shape["positions"] = settings.get("position_embedding_type", one_of(positions), "learned")
    norm = {"rmsnorm": "rms", "layernorm": "layer"}
    shape["norm"] = settings.get("normalization", one_of(norm), "layer")
    shape["bias"] = not settings.get("disable_bias_linear", flag, False)
    if shape["norm"] == "rms":
        shape["norm_bias"] = False
    elif not shape["bias"]:
        shape["norm_bias"] = True
    if settings.get("add_qkv_bias", flag, False):
        shape["query_key_value_bias"] = True
    if settings.get("qk_layernorm", flag, False):
        shape["query_key_norm"] = True
    untied = settings.get("untie_embeddings_and_output_weights", flag, False)
    shape["tied"] = not untied
    if "vocabulary" not in shape:
        return  # of the tokenizer, which the file names at most
    settings.put("model", shape)
    settings.use(
        "model",
        "swiglu",
        "position_embedding_type",
        "normalization",
        "disable_bias_linear",
        "add_qkv_bias",
        "qk_layernorm",
        "untie_embeddings_and_output_weights",
        "group_query_attention",
    )


def _mixture(settings: Settings) -> None:
    """Describe a mixture of experts by the fields of a published configuration."""
    experts = settings.get("num_experts", whole) or settings.get("num_moe_experts", whole)
    hidden, heads = (settings.get(n, whole) for n in ("hidden_size", "num_attention_heads"))
    dense = settings.get("ffn_hidden_size", whole) or 4 * hidden
    config: dict[str, Any] = {
        "model_type": "mixtral",
        "num_hidden_layers": settings.get("num_layers", whole),
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": settings.get("num_query_groups", whole) or heads,
        "head_dim": settings.get("kv_channels", whole) or hidden // heads,
        "intermediate_size": settings.get("moe_ffn_hidden_size", whole) or dense,
        "num_local_experts": experts,
        "num_experts_per_tok": settings.get("moe_router_topk", whole) or 2,
        "vocab_size": settings.get("vocab_size", whole) or settings.get("padded_vocab_size", whole),
        "max_position_embeddings": settings.get("max_position_embeddings", whole) or 4096,
        "tie_word_embeddings": not settings.get("untie_embeddings_and_output_weights", flag, False),
    }
    if config["vocab_size"] is None or "moe_shared_expert_intermediate_size" in settings.values:
        return  # said by `missing`: the model must be named
    settings.put("model", {"huggingface": config})
    settings.use(
        "model",
        "num_experts",
        "num_moe_experts",
        "moe_router_topk",
        "moe_ffn_hidden_size",
        "untie_embeddings_and_output_weights",
        *_SHAPE,
    )
