"""Decoders with latent attention: DeepSeek-V2 and later, and those built in their way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    HEADS,
    compose,
    dropped,
    kinds,
    mixed,
    mixture,
    network,
    switch,
)
from costsim.architectures.layers import RMS, LatentSelfAttention, SparseIndex
from costsim.architectures.transformer import Transformer

INDEXED = "indexed_attention"


def latent(config: Config, **switches: Any) -> LatentSelfAttention:
    """Return the latent attention of a layer. The key `head_dim` of such configs says nothing."""
    config.ignore("head_dim", "qk_head_dim", "num_key_value_heads", "attention_method", "use_mla")
    return LatentSelfAttention(
        heads=config.size(*HEADS),
        latent_dim=config.size("kv_lora_rank"),
        query_latent_dim=config.optional_size("q_lora_rank"),
        key_dim=config.size("qk_nope_head_dim"),
        rotary_dim=config.size("qk_rope_head_dim"),
        value_dim=config.size("v_head_dim"),
        bias=switch(config, "attention_bias"),
        dropout=dropped(config, "attention_dropout"),
        **switches,
    )


def _deepseek(config: Config) -> Transformer:
    """Read DeepSeek-V2 and V3, Kimi K2, GLM-4.7-Flash, Mistral 4: the first layers dense."""
    return compose(config, latent(config), _networks(config))


def _axk1(config: Config) -> Transformer:
    return compose(config, latent(config), _networks(config, output_norm=RMS))


def _networks(config: Config, **switches: Any) -> list[Any]:
    if config.knows("first_k_dense_replace"):
        first = config.count("first_k_dense_replace")
    else:
        first = 1
    period = config.size("moe_layer_freq", default=1)
    experts = mixture(config, **switches)
    return mixed(
        config,
        lambda index: index >= first and index % period == 0,
        network(config),
        experts,
    )


def _youtu(config: Config) -> Transformer:
    return compose(config, latent(config), network(config))


def _sparse(config: Config) -> Transformer:
    """Read DeepSeek-V3.2 and GLM-5, whose layers attend to what an indexer picks.

    A layer of type `shared` uses the choice of the layer before it.
    """
    index = SparseIndex(
        heads=config.size("index_n_heads"),
        head_dim=config.size("index_head_dim"),
        selected=config.size("index_topk"),
    )
    config.ignore("index_topk_pattern", "index_topk_freq", "index_skip_topk_offset")
    period = config.size("index_topk_freq", default=1)
    offset = config.count("index_skip_topk_offset", default=2)
    kinds(config, "layer_types", (INDEXED,), lambda layer: INDEXED)
    own = kinds(
        config,
        "indexer_types",
        ("full", "shared"),
        lambda layer: "shared" if max(layer - offset + 1, 0) % period else "full",
    )
    indexed = latent(config, index=index)
    borrowing = replace(indexed, index=None, selected=index.selected)
    mixers = [indexed if kind == "full" else borrowing for kind in own]
    return compose(config, mixers, _networks(config))


READERS: dict[str, Reader] = {
    "axk1": _axk1,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "deepseek_v32": _sparse,
    "glm4_moe_lite": _deepseek,
    "glm_moe_dsa": _sparse,
    "kimi_k2": _deepseek,
    "mistral4": _deepseek,
    "youtu": _youtu,
}
