"""Kimi Linear and Ling 3: Kimi Delta Attention, latent attention in some layers, experts."""

from __future__ import annotations

from typing import Any, cast

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    FULL,
    every,
    mixed,
    mixture,
    network,
)
from costsim.architectures.huggingface.hybrids.stacking import LINEAR, layer_kinds, stacked
from costsim.architectures.layers import RMS, LatentSelfAttention, Layer, Mixer
from costsim.architectures.layers.gated_delta import GatedDelta
from costsim.architectures.transformer import Transformer


def _kimi(config: Config) -> Transformer:
    config.ignore("linear_attn_config", "head_dim", "kda_use_full_proj")
    inner = config.values.get("linear_attn_config")
    if inner is not None and not isinstance(inner, dict):
        config.problem("linear_attn_config", "must be a mapping")
    published = config.nested("linear_attn_config") if isinstance(inner, dict) else None

    def size(key: str, short: str) -> int:
        if published is not None and published.present(short):
            return published.size(short)
        return config.size(key)

    heads, width = size("linear_num_heads", "num_heads"), size("linear_head_dim", "head_dim")
    delta = _delta(
        heads,
        width,
        size("linear_conv_kernel_dim", "short_conv_kernel_size"),
        decay_rank=width,
        gate_rank=width,
    )
    found = layer_kinds(
        config, "layer_types", otherwise=lambda index: LINEAR if index % 4 or not index else FULL
    )
    if published is not None and not config.present("layer_types"):
        full = set(published.indices("full_attn_layers"))  # counted from 1
        published.ignore("kda_layers")
        found = tuple(FULL if index in full else LINEAR for index in range(1, len(found) + 1))
    return _stacked(config, found, delta, config.optional_size("q_lora_rank"), None)


def _bailing(config: Config) -> Transformer:
    config.ignore("kda_safe_gate", "kda_lower_bound", "mtp_loss_scaling_factor", "linear_head_dim")
    config.ignore("linear_num_heads", "linear_conv_kernel_dim", "head_dim", "qk_head_dim")
    heads = config.size("num_attention_heads")
    # A saved config has the rotary width under `head_dim`, and the delta net's in its own key.
    width = config.size("linear_head_dim" if config.present("linear_head_dim") else "head_dim")
    delta = _delta(heads, width, config.size("short_conv_kernel_size"))
    period = config.size("layer_group_size")
    found = layer_kinds(config, "layer_types", otherwise=every(period, FULL, LINEAR))
    return _stacked(config, found, delta, None, "heads")


def _delta(heads: int, width: int, kernel: int, **ranks: int) -> GatedDelta:
    return GatedDelta(
        key_heads=heads,
        value_heads=heads,
        key_dim=width,
        value_dim=width,
        kernel=kernel,
        decay="channels",
        **cast("dict[str, Any]", ranks),
    )


def _stacked(
    config: Config,
    found: tuple[str, ...],
    delta: GatedDelta,
    query_latent: int | None,
    gate: str | None,
) -> Transformer:
    config.ignore("qk_head_dim", "num_key_value_heads", "pretraining_tp", "mla_use_nope")
    config.ignore("use_grouped_topk", "moe_router_activation_func", "moe_renormalize")
    config.ignore("num_expert_group")
    latent = LatentSelfAttention(
        heads=config.size("num_attention_heads"),
        latent_dim=config.size("kv_lora_rank"),
        query_latent_dim=query_latent,
        key_dim=config.size("qk_nope_head_dim"),
        rotary_dim=config.size("qk_rope_head_dim"),
        value_dim=config.size("v_head_dim"),
        bias=config.flag("attention_bias"),
        gate=cast(Any, gate),
        dropout=config.rate("attention_dropout") > 0,
    )
    mixers: dict[str, Mixer] = {LINEAR: delta, FULL: latent}
    table = config.knows("first_k_dense_replace")
    dense = config.count("first_k_dense_replace") if table else 1
    networks = mixed(config, lambda index: index >= dense, network(config), mixture(config))
    layers = [
        Layer(mixer=mixers[kind], feed_forward=fed, norm=RMS)
        for kind, fed in zip(found, networks, strict=False)
    ]
    return stacked(config, layers)


READERS: dict[str, Reader] = {"kimi_linear": _kimi, "bailing_hybrid": _bailing}
