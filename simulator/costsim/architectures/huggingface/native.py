"""Configurations of authors' own code: `params.json` of Llama and Mistral, DeepSeek's inference.

Such a file names no model type; its keys tell whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.layers import (
    RMS,
    FeedForward,
    LatentSelfAttention,
    Layer,
    MixtureOfExperts,
    SelfAttention,
    SubLayer,
)
from costsim.architectures.transformer import Transformer

_DEEPSEEK = ("dim", "inter_dim", "n_layers", "kv_lora_rank")
_LLAMA = ("dim", "n_layers", "n_heads", "norm_eps")
_CORRECTED = 7168  # the width of V3, whose router alone has a trained correction


def native_type(values: Mapping[str, Any]) -> str | None:
    """Return the name under which a native configuration is read; None where it is none."""
    if "model_type" in values:
        return None
    if all(key in values for key in _DEEPSEEK):
        return "deepseek_native"
    if all(key in values for key in _LLAMA):
        return "mistral_native" if "hidden_dim" in values else "llama_native"
    return None


def _deepseek(config: Config) -> Transformer:
    """Read DeepSeek-V2 and V3 as their inference code does, which lets experts be corrected."""
    config.ignore("dtype", "scale_fmt", "n_expert_groups", "n_limited_groups", "score_func")
    config.ignore("route_scale", "original_seq_len", "rope_factor", "beta_fast", "beta_slow")
    config.ignore("mscale", "max_batch_size", "max_seq_len", "rope_theta")
    hidden, layers = config.size("dim"), config.layers("n_layers")
    mixer = LatentSelfAttention(
        heads=config.size("n_heads", default=16),
        latent_dim=config.size("kv_lora_rank"),
        query_latent_dim=config.count("q_lora_rank", default=0) or None,
        key_dim=config.size("qk_nope_head_dim", default=128),
        rotary_dim=config.size("qk_rope_head_dim", default=64),
        value_dim=config.size("v_head_dim", default=128),
        bias=False,
    )
    width = config.size("moe_inter_dim", default=1408)
    shared = config.count("n_shared_experts", default=2)
    always = FeedForward(
        width=shared * width, gated=True, activation="silu", name="feed_forward.shared"
    )
    experts = MixtureOfExperts(
        width=width,
        experts=config.size("n_routed_experts", default=64),
        top_k=config.size("n_activated_experts", default=6),
        shared=always if shared else None,
        correction=hidden == _CORRECTED,
    )
    dense = FeedForward(width=config.size("inter_dim"), gated=True, activation="silu")
    first = min(config.count("n_dense_layers", default=1), layers)
    runs: tuple[tuple[SubLayer, int], ...] = ((dense, first), (experts, layers - first))
    return Transformer(
        vocabulary=config.size("vocab_size", default=102400),
        hidden=hidden,
        layers=tuple(
            (Layer(mixer=mixer, feed_forward=fed, norm=RMS), count) for fed, count in runs if count
        ),
        final_norm=RMS,
    )


def _llama(config: Config) -> Transformer:
    """Read Llama's `params.json`: two thirds of four times the width, rounded up to a multiple."""
    config.ignore("norm_eps", "rope_theta", "use_scaled_rope", "max_batch_size", "max_seq_len")
    hidden = config.size("dim")
    ratio: Any = config.values.get("ffn_dim_multiplier") or 1
    step = config.size("multiple_of", default=256)
    config.ignore("ffn_dim_multiplier")
    config.require(
        isinstance(ratio, int | float) and 0 < ratio < 100, "ffn_dim_multiplier", "is no factor"
    )
    width = int(ratio * int(8 * hidden / 3)) if not config.problems else 1
    vocabulary = config.values.get("vocab_size")
    config.require(
        vocabulary != -1, "vocab_size", "is -1: the tokenizer's size must be written (32000)"
    )
    return _plain(config, hidden, -(-width // step) * step)


def _mistral(config: Config) -> Transformer:
    """Read Mistral's `params.json`, whose `moe` describes experts."""
    config.ignore("norm_eps", "rope_theta", "max_batch_size", "max_seq_len", "multiple_of", "yarn")
    return _plain(config, config.size("dim"), config.size("hidden_dim"))


def _plain(config: Config, hidden: int, width: int) -> Transformer:
    heads = config.size("n_heads")
    head_dim = config.optional_size("head_dim", default=None) or max(1, hidden // heads)
    window = config.optional_size("sliding_window", default=None)
    mixer = SelfAttention(
        heads=heads,
        kv_heads=config.optional_size("n_kv_heads", default=None) or heads,
        head_dim=head_dim,
        rotary=True,
        window=window,
    )
    fed: SubLayer = FeedForward(width=width, gated=True, activation="silu")
    if config.present("moe"):
        inner = config.nested("moe")
        experts = inner.size("num_experts", default=8)
        fed = MixtureOfExperts(
            width=width, experts=experts, top_k=inner.size("num_experts_per_tok", default=2)
        )
    layer = Layer(mixer=mixer, feed_forward=fed, norm=RMS)
    return Transformer(
        vocabulary=config.size("vocab_size"),
        hidden=hidden,
        layers=((layer, config.layers("n_layers")),),
        final_norm=RMS,
        tied=config.flag("tied_embeddings", "tie_word_embeddings", default=False),
    )


READERS: dict[str, Reader] = {
    "deepseek_native": _deepseek,
    "llama_native": _llama,
    "mistral_native": _mistral,
}
