"""Decoders with latent attention: DeepSeek-V2 and later, and those built in their way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    HEADS,
    HIDDEN,
    INDEXED,
    LAYERS,
    SLIDING,
    attention,
    compose,
    dropped,
    kinds,
    mixed,
    mixture,
    network,
    overridden,
    switch,
)
from costsim.architectures.layers import (
    RMS,
    HyperHead,
    HyperLayer,
    LatentSelfAttention,
    Layer,
    SparseIndex,
)
from costsim.architectures.layers.compressed_attention import CompressedAttention
from costsim.architectures.layers.recording import in_runs
from costsim.architectures.transformer import Transformer

# The library's choice for the sliding layers of dots 3: field, key, width.
_DOTS_WINDOW = 512
_DOTS_SLIDING = {
    "heads": ("num_attention_heads", 64),
    "latent_dim": ("kv_lora_rank", 1024),
    "key_dim": ("qk_nope_head_dim", 192),
    "value_dim": ("v_head_dim", 128),
}


def latent(config: Config, **switches: Any) -> LatentSelfAttention:
    """Return the latent attention of a layer. The key `head_dim` of such configs says nothing."""
    config.ignore("head_dim", "qk_head_dim", "num_key_value_heads", "attention_method", "use_mla")
    return LatentSelfAttention(
        heads=config.size(*HEADS),
        latent_dim=config.size("kv_lora_rank"),
        query_latent_dim=config.optional_size("q_lora_rank"),
        key_dim=config.size("qk_nope_head_dim"),
        rotary_dim=config.size("qk_rope_head_dim"),
        value_dim=config.optional_size("v_head_dim") or config.size(*HIDDEN) // config.size(*HEADS),
        bias=switch(config, "attention_bias"),
        dropout=dropped(config, "attention_dropout"),
        **switches,
    )


def _deepseek(config: Config) -> Transformer:
    """Read DeepSeek-V2 and V3, Kimi K2, GLM-4.7-Flash, Mistral 4: the first layers dense.

    The text models of DeepSeek-VL2's smaller sizes have plain attention (`use_mla: false`).
    """
    if config.values.get("use_mla") is False:
        config.ignore("use_mla", "kv_lora_rank", "q_lora_rank", "v_head_dim", "lm_head", "rm_head")
        config.ignore("qk_nope_head_dim", "qk_rope_head_dim", "head_dim")
        width = config.size(*HIDDEN) // config.size(*HEADS)
        return compose(config, attention(config, head_dim=width), _networks(config))
    return compose(config, latent(config), _networks(config))


def _axk1(config: Config) -> Transformer:
    return compose(config, latent(config), _networks(config, output_norm=RMS))


def _networks(config: Config, **switches: Any) -> list[Any]:
    key = "first_k_dense_replace"
    first = config.count(key) if config.knows(key) else 1
    period = config.size("moe_layer_freq", default=1)
    if "trained_correction" in config.values:
        switches["correction"] = config.flag("trained_correction")
    experts = mixture(config, **switches)
    return mixed(
        config,
        lambda index: index >= first and index % period == 0,
        network(config),
        experts,
    )


def _dense(config: Config) -> Transformer:
    """Read Youtu and MiniCPM 3."""
    config.ignore("scale_emb", "scale_depth", "dim_model_base")
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


def _dots3(config: Config) -> Transformer:
    """Read dots 3: gated layers that an indexer serves, others with a window and wider latents."""
    layers = config.layers(*LAYERS)
    window = config.optional_size("sliding_window") or _DOTS_WINDOW
    config.ignore("sliding_window_size", "use_dsa", "use_sliding_window", "mlp_bias")
    seen = kinds(
        config,
        "layer_types",
        (INDEXED, SLIDING),
        lambda index: INDEXED if index < 2 or index % 4 == 1 else SLIDING,
    )
    index = SparseIndex(
        heads=config.size("index_n_heads"),
        head_dim=config.size("index_head_dim"),
        selected=config.size("index_topk"),
        float32_keys=True,
    )
    mixer = latent(config, rotary_norm=True, gate="heads")
    mixers = [
        replace(mixer, index=index)
        if kind == INDEXED
        else replace(mixer, window=window, **_sliding_sizes(config, layer))
        for layer, kind in enumerate(seen)
    ]
    shared = config.size("shared_experts_intermediate_size", "moe_shared_expert_intermediate_size")
    always = shared * config.count("n_shared_experts")
    return compose(config, mixers[:layers], _networks(config, shared_width=always))


def _sliding_sizes(config: Config, layer: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for field, (key, default) in _DOTS_SLIDING.items():
        given = overridden(config, layer, key)
        found[field] = given or config.size(f"swa_{key}", default=default)
    return found


def _hy_v4(config: Config) -> Transformer:
    """Read Hy V4: several residual streams, sinks, gates, an indexer in every fourth layer."""
    index = SparseIndex(
        heads=config.size("index_n_heads"),
        head_dim=config.size("index_head_dim"),
        selected=config.size("index_topk"),
    )
    config.ignore("hc_magnitude", "hc_eps", "learnable_sink_init")
    kinds(config, "layer_types", (INDEXED,), lambda layer: INDEXED)
    own = kinds(
        config,
        "indexer_types",
        ("full", "shared"),
        lambda layer: "full" if layer == 0 or layer % 4 == 1 else "shared",
    )
    indexed = latent(config, index=index, sinks=True, gate="values")
    borrowing = replace(indexed, index=None, selected=index.selected)
    streams = config.size("hc_mult")
    stacked = compose(
        config,
        [indexed if kind == "full" else borrowing for kind in own],
        _networks(config),
        before_head=HyperHead(streams=streams),
    )
    layers = tuple(
        (
            HyperLayer(
                mixer=layer.mixer, feed_forward=layer.feed_forward, norm=layer.norm, streams=streams
            ),
            count,
        )
        for layer, count in stacked.layers
        if isinstance(layer, Layer)
    )
    return replace(stacked, layers=layers)


def _longcat(config: Config) -> Transformer:
    """Read LongCat-Flash: of each two layers the first has experts beside its network.

    Their sum joins the stream after the second, so that exchanges hide behind it. Some experts are
    empty. The library allocates halves of those as well, which no release has.
    """
    layers = config.layers(*LAYERS)
    config.ignore("head_dim", "mla_scale_q_lora", "mla_scale_kv_lora", "zero_expert_type")
    config.ignore("attention_method", "rope_theta", "ngram_vocab_size_ratio")
    dense = network(config)
    experts = replace(
        mixture(config, width=config.size("expert_ffn_hidden_size")),
        shared=replace(dense, name="feed_forward.shared"),
        router_bias=switch(config, "router_bias"),
        empty=config.count("zero_expert_num") if config.value("zero_expert_num") else 0,
    )
    config.ignore("zero_expert_num", "router_bias")
    stacked = compose(config, latent(config), dense)
    ((plain, _),) = stacked.layers
    assert isinstance(plain, Layer)
    pairs = [replace(plain, feed_forward=experts), plain] * layers
    return replace(stacked, layers=in_runs(pairs))


def _deepseek_v4(config: Config) -> Transformer:
    """Read DeepSeek-V4: windows and compressed entries, several residual streams, experts."""
    config.ignore("hc_sinkhorn_iters", "hc_eps", "compress_rope_theta", "expert_dtype")
    config.ignore("num_hash_layers", "swiglu_limit", "num_key_value_heads", "qk_rope_head_dim")
    config.ignore("intermediate_size", "compress_ratios", "partial_rotary_factor")
    layers = config.layers(*LAYERS)
    rates = {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128, SLIDING: None}
    if config.present("compress_rates"):
        given = config.nested("compress_rates")
        given.ignore(SLIDING)
        rates.update({kind: given.size(kind, default=rate) for kind, rate in rates.items() if rate})
    sparse, heavy = (kind for kind in rates if kind != SLIDING)
    named = {rate or 0: kind for kind, rate in rates.items()}
    listed = config.indices("compress_ratios")
    wrong = next((rate for rate in listed if rate not in named), None)
    config.require(wrong is None, "compress_ratios", f"has {wrong}, which is no rate that is known")

    def kind(index: int) -> str:
        if listed:
            return named.get(listed[index], SLIDING) if index < len(listed) else SLIDING
        return sparse if index > 1 and index % 2 else heavy

    seen = kinds(config, "layer_types", tuple(rates), kind)
    head_dim = config.size("head_dim")
    rotary = config.optional_size("qk_rope_head_dim", default=None) or max(1, head_dim // 8)
    mixer = CompressedAttention(
        heads=config.size(*HEADS),
        head_dim=head_dim,
        rotary_dim=rotary,
        query_latent_dim=config.size("q_lora_rank"),
        output_groups=config.size("o_groups"),
        output_latent_dim=config.size("o_lora_rank"),
        window=config.size("sliding_window"),
        dropout=dropped(config, "attention_dropout"),
    )
    index = SparseIndex(
        heads=config.size("index_n_heads"),
        head_dim=config.size("index_head_dim"),
        selected=config.size("index_topk"),
    )
    mixers = [
        replace(mixer, rate=rates[name], index=index if name == sparse else None) for name in seen
    ]
    config.require(
        (mixer.heads * head_dim) % mixer.output_groups == 0,
        "o_groups",
        f"is {mixer.output_groups}, which does not divide the heads' outputs",
    )
    kinds(config, "mlp_layer_types", ("hash_moe", "moe"), lambda layer: "moe")
    experts = mixture(config)
    streams = config.size("hc_mult")
    stacked = compose(config, mixers[0], experts, before_head=HyperHead(streams=streams))
    found = [
        HyperLayer(mixer=mixer, feed_forward=experts, norm=RMS, streams=streams, mixes=True)
        for mixer in mixers[:layers]
    ]
    return replace(stacked, layers=in_runs(found), final_norm=RMS)


READERS: dict[str, Reader] = {
    "axk1": _axk1,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "deepseek_v32": _sparse,
    "deepseek_v4": _deepseek_v4,
    "deepseek_ref": _deepseek_v4,
    "dots3_note_text": _dots3,
    "glm4_moe_lite": _deepseek,
    "glm_moe_dsa": _sparse,
    "hy_v4": _hy_v4,
    "kimi_k2": _deepseek,
    "longcat_flash": _longcat,
    "mistral4": _deepseek,
    "minicpm3": _dense,
    "youtu": _dense,
}
