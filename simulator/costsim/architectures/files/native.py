"""`params.json` as Meta and Mistral release their models, and DeepSeek's own configuration.

The same models with other names for their sizes: read as the Hugging Face config that they equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from costsim.architectures.files.described import Described, fail

_CORRECTED = 7168  # the width by which DeepSeek's own code knows V3
_LLAMA_VOCABULARY = 32_000  # Llama 1 and 2 say -1: as many as their tokenizer has
_POSITIONS = ("max_position_embeddings", "max_seq_len", "max_seqlen", "seq_len")

# key of the release -> key of the config that it equals
_SIZES = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "hidden_dim": "intermediate_size",
    "vocab_size": "vocab_size",
    "rope_theta": "rope_theta",
    "norm_eps": "rms_norm_eps",
    "sliding_window": "sliding_window",
    "tied_embeddings": "tie_word_embeddings",
}
_LATENT = {
    "q_lora_rank": "q_lora_rank",
    "kv_lora_rank": "kv_lora_rank",
    "qk_nope_head_dim": "qk_nope_head_dim",
    "qk_rope_head_dim": "qk_rope_head_dim",
    "v_head_dim": "v_head_dim",
}
_DEEPSEEK = {
    "dim": "hidden_size",
    "inter_dim": "intermediate_size",
    "moe_inter_dim": "moe_intermediate_size",
    "n_layers": "num_hidden_layers",
    "n_dense_layers": "first_k_dense_replace",
    "n_heads": "num_attention_heads",
    "n_routed_experts": "n_routed_experts",
    "n_shared_experts": "n_shared_experts",
    "n_activated_experts": "num_experts_per_tok",
    "n_expert_groups": "n_group",
    "n_limited_groups": "topk_group",
    "vocab_size": "vocab_size",
    "max_seq_len": "max_position_embeddings",
    "route_scale": "routed_scaling_factor",
    **_LATENT,
}
_IDLE = {
    *("score_func", "dtype", "ffn_dim_multiplier", "multiple_of", "use_scaled_rope", "use_biases"),
    *("causal", "rope_scaling_factor", "max_batch_size", "rope_factor", "beta_fast", "beta_slow"),
    *(
        "mscale",
        "original_seq_len",
        "attn_impl",
        "gemm_impl",
        "scale_fmt",
        "yarn",
        "llama_4_scaling",
    ),
    *("mscale_all_dim", "model_type", "norm_topk_prob", "route_groups", "sparse_params", "ragged"),
}


def is_native(values: Mapping[str, Any]) -> bool:
    """Return whether a mapping has the keys by which native releases are known."""
    return {"dim", "n_layers", "n_heads"} <= values.keys() and "hidden_size" not in values


def read_native(values: Mapping[str, Any], file: str) -> Described:
    """Return the config that a native release equals.

    Raises:
        SpecError: for sizes that no reader here consumes.
    """
    if "inter_dim" in values:
        return _deepseek(values, file)
    config = _renamed(values, _SIZES)
    notes: list[str] = []
    if config.get("vocab_size", -1) == -1:
        config["vocab_size"] = _LLAMA_VOCABULARY
        notes.append("`vocab_size` is left to the tokenizer: 32,000, as Llama's has")
    config["max_position_embeddings"] = next(
        (values[key] for key in _POSITIONS if key in values), None
    )
    if config["max_position_embeddings"] is None:
        del config["max_position_embeddings"]
    if "intermediate_size" not in config:
        config["intermediate_size"] = _feed_forward(values, file)
    mixture = values.get("moe")
    used = {*_SIZES, *_IDLE, *_POSITIONS, "moe"}
    if values.get("vision_encoder") is not None:
        raise fail(
            file,
            "a model with a tower for images in Mistral's own form is not supported",
            "the config.json of the same release is",
        )
    if "kv_lora_rank" in values:
        config |= _renamed(values, _LATENT)
        used |= set(_LATENT)
    config["model_type"] = "mistral"
    if isinstance(mixture, dict):
        config |= _mixture(cast("dict[str, Any]", mixture), config)
    elif "kv_lora_rank" in values:
        raise fail(file, "attention over a latent without experts is not supported")
    unknown = [key for key in values if key not in used and not isinstance(values[key], bool)]
    if unknown:
        listed = ", ".join(f"`{key}`" for key in unknown[:8])
        raise fail(
            file, f"unknown size keys {listed}", "the config.json of the release is read too"
        )
    return Described(fields={"huggingface": config}, notes=tuple(notes))


def _mixture(mixture: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    experts, chosen = mixture.get("num_experts"), mixture.get("num_experts_per_tok")
    if "kv_lora_rank" not in config:
        return {
            "model_type": "mixtral",
            "num_local_experts": experts,
            "num_experts_per_tok": chosen,
        }
    return {  # Mistral Large 3: as DeepSeek-V3
        "model_type": "deepseek_v3",
        "n_routed_experts": experts,
        "num_experts_per_tok": chosen,
        "n_shared_experts": mixture.get("num_shared_experts", 1),
        "moe_intermediate_size": mixture.get("expert_hidden_dim"),
        "first_k_dense_replace": mixture.get("first_k_dense_replace", 0),
        "n_group": mixture.get("num_expert_groups", 1),
        "topk_group": mixture.get("num_expert_groups_per_tok", 1),
        "routed_scaling_factor": mixture.get("routed_scale", 1.0),
    }


def _feed_forward(values: Mapping[str, Any], file: str) -> int:
    """Return the width that Llama's code makes of its factor: 8/3 of the stream's, rounded up."""
    dim, unit = values.get("dim"), values.get("multiple_of", 256)
    factor = values.get("ffn_dim_multiplier") or 1.0
    numbers = (dim, unit, factor)
    if not all(isinstance(x, int | float) and 0 < x < 1e9 for x in numbers) or unit != int(unit):
        raise fail(file, "`dim`, `multiple_of` and `ffn_dim_multiplier` must be positive numbers")
    wanted = int(factor * int(2 * (4 * cast("int", dim)) / 3))
    return int(unit) * -(-wanted // int(unit))


def _deepseek(values: Mapping[str, Any], file: str) -> Described:
    unknown = [key for key in values if key not in _DEEPSEEK and key not in _IDLE]
    if unknown:
        listed = ", ".join(f"`{key}`" for key in unknown[:8])
        raise fail(
            file, f"unknown size keys {listed}", "the config.json of the release is read too"
        )
    config = {"model_type": "deepseek_v3", **_renamed(values, _DEEPSEEK)}
    if "first_k_dense_replace" in config and config.get("q_lora_rank") == 0:
        config["q_lora_rank"] = None
    if values.get("dtype") == "fp8":
        fp8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}
        config["quantization_config"] = fp8
    # Routers have a trained correction in V3 alone, which its width tells; a buffer in the library.
    config["trained_correction"] = values.get("dim") == _CORRECTED
    return Described(fields={"huggingface": config})


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {new: values[key] for key, new in names.items() if values.get(key) is not None}
