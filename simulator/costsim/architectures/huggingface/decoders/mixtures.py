"""Decoders with routed experts in the place of some or all networks."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    AFFINE,
    CHUNKED,
    FULL,
    HEADS,
    INDEXED,
    LAYERS,
    PLAIN,
    SHARED,
    SLIDING,
    attention,
    compose,
    dropped,
    every,
    kinds,
    mixed,
    mixture,
    network,
    pattern,
    windowed,
    windows,
)
from costsim.architectures.layers import HeadNorm, MixtureOfExperts, NormStyle, RoutedAttention
from costsim.architectures.layers.block_sparse import BlockSparseAttention
from costsim.architectures.transformer import Transformer

_SANDWICH: dict[str, Any] = {"mixer_output_norm": True, "feed_forward_output_norm": True}


def _mixtral(config: Config) -> Transformer:
    """Read Mixtral: experts in every layer."""
    return compose(config, windowed(attention(config), windows(config)), mixture(config))


def _phimoe(config: Config) -> Transformer:
    return compose(
        config,
        windowed(attention(config), windows(config)),
        mixture(config),
        norm=AFFINE,
        head_bias=config.flag("lm_head_bias"),
    )


def _granitemoe(config: Config) -> Transformer:
    """Read Granite MoE, and the variant with a network that every token passes."""
    always = config.count("shared_intermediate_size") if _shares(config) else 0
    experts = mixture(config, shared_width=always, fused_shared_gate=True)
    return compose(config, attention(config), experts)


def _shares(config: Config) -> bool:
    return config.knows("shared_intermediate_size")


def _olmoe(config: Config) -> Transformer:
    """Read OLMoE and FlexOlmo, which normalizes outputs alone."""
    mixer = attention(config, query_key_norm=HeadNorm(whole=True))
    flex = config.text("model_type", default="") == "flex_olmo"
    after = _SANDWICH if flex else {}
    return compose(config, mixer, mixture(config), bare_mixer=flex, bare_feed_forward=flex, **after)


def _minimax_m2(config: Config) -> Transformer:
    config.ignore("use_mtp", "num_mtp_modules", "mtp_transformer_layers", "qk_norm_type")
    config.ignore("use_qk_norm", "use_routing_bias", "shared_intermediate_size", "attn_type_list")
    mixer = attention(config, query_key_norm=HeadNorm(whole=True))
    return compose(config, mixer, mixture(config))


def _gpt_oss(config: Config) -> Transformer:
    """Read gpt-oss: every second layer sees all; sinks; biases of router and experts too."""
    seen = windows(config, every(2))
    mixers = windowed(attention(config, sinks=True), seen)
    return compose(config, mixers, mixture(config, bias=True, router_bias=True))


def _qwen2_moe(config: Config) -> Transformer:
    """Read Qwen1.5 and Qwen2 MoE: an always-used network behind a gate."""
    period, dense_layers = _qwen_layers(config)
    experts = mixture(
        config,
        shared_width=config.size("shared_expert_intermediate_size"),
        shared_gate=True,
    )
    slides = config.flag("use_sliding_window")
    last = config.count("max_window_layers")
    seen = windows(
        config,
        lambda index: SLIDING if slides and index % 2 == 0 and index < last else FULL,
    )
    return compose(
        config,
        windowed(attention(config, bias=config.flag("qkv_bias"), output_bias=False), seen),
        _by_step(config, period, dense_layers, experts),
    )


def _qwen3_moe(config: Config) -> Transformer:
    period, dense_layers = _qwen_layers(config)
    mixer = attention(config, query_key_norm=HeadNorm())
    if config.flag("use_sliding_window"):
        mixer = replace(mixer, window=config.optional_size("sliding_window"))
    config.ignore("sliding_window", "max_window_layers")
    return compose(config, mixer, _by_step(config, period, dense_layers, mixture(config)))


def _qwen_layers(config: Config) -> tuple[int, tuple[int, ...]]:
    return config.size("decoder_sparse_step"), config.indices("mlp_only_layers")


def _by_step(
    config: Config, period: int, dense_layers: tuple[int, ...], experts: MixtureOfExperts
) -> Any:
    return mixed(
        config,
        lambda index: index not in dense_layers and (index + 1) % period == 0,
        network(config),
        experts,
    )


def _dots1(config: Config) -> Transformer:
    first = config.count("first_k_dense_replace")
    mixer = attention(config, query_key_norm=HeadNorm())
    full = config.count("max_window_layers")
    seen = windows(config, lambda index: SLIDING if index >= full else FULL)
    fed = mixed(config, lambda index: index >= first, network(config), mixture(config))
    return compose(config, windowed(mixer, seen), fed)


def _glm4_moe(config: Config) -> Transformer:
    """Read GLM-4.5 and later: shared experts, the first layers dense."""
    first = config.count("first_k_dense_replace")
    heads = HeadNorm() if config.flag("use_qk_norm") else None
    mixer = attention(config, output_bias=False, query_key_norm=heads)
    fed = mixed(config, lambda index: index >= first, network(config), mixture(config))
    return compose(config, mixer, fed)


def _solar_open(config: Config) -> Transformer:
    config.ignore("first_k_dense_replace", "intermediate_size", "use_qk_norm")
    return compose(config, attention(config, output_bias=False), mixture(config))


def _hy_v3(config: Config) -> Transformer:
    fed = mixed(config, lambda index: index > 0, network(config), mixture(config))
    return compose(config, attention(config, query_key_norm=HeadNorm()), fed)


def _exaone_moe(config: Config) -> Transformer:
    first = config.count("first_k_dense_replace")
    mixer = attention(config, query_key_norm=HeadNorm())
    seen = windows(config, pattern(config, "sliding_window_pattern"))
    fed = mixed(config, lambda index: index >= first, network(config), mixture(config))
    return compose(config, windowed(mixer, seen), fed)


def _ernie_moe(config: Config) -> Transformer:
    """Read ERNIE 4.5 MoE: experts in every so many layers of a range."""
    layers = config.layers(*LAYERS)
    start = config.count("moe_layer_start_index")
    config.ignore("moe_layer_end_index", "moe_capacity", "moe_gate", "moe_use_aux_free")
    end = config.values.get("moe_layer_end_index", -1)
    last = end if type(end) is int and end >= 0 else layers - 1
    period = config.size("moe_layer_interval")
    bias = config.flag("use_bias")
    experts = mixture(config, correction=True)
    fed = mixed(
        config,
        lambda index: start <= index <= last and (index + 1) % period == 0,
        network(config, bias=bias),
        experts,
    )
    return compose(config, attention(config, bias=bias), fed)


def _cohere2_moe(config: Config) -> Transformer:
    """Read Command's mixture: attention and experts side by side after one norm."""
    layers = config.layers(*LAYERS)
    first = config.count("first_k_dense_replace", default=0)
    prefix = config.size("prefix_dense_sliding_window_pattern")
    period = config.size("sliding_window_pattern")

    def kind(index: int) -> str:
        if index < first:
            return every(prefix)(index)
        return every(period)(index - first)

    width = config.optional_size("prefix_dense_intermediate_size")
    fed = mixed(
        config,
        lambda index: first <= index < layers,
        network(config, width=width),
        mixture(config),
    )
    seen = windows(config, kind)
    return compose(
        config, windowed(attention(config), seen), fed, norm=PLAIN, parallel=True, shared_norm=True
    )


def _hunyuan_moe(config: Config) -> Transformer:
    """Read Hunyuan: beside the experts a network of their width for all tokens."""
    config.ignore("num_shared_expert", "moe_intermediate_size", "cla_share_factor", "use_cla")
    width = config.size("intermediate_size")
    experts = mixture(config, width=width, shared_width=width)
    return compose(config, attention(config, query_key_norm=HeadNorm()), experts)


def _afmoe(config: Config) -> Transformer:
    """Read AFMoE (Trinity): gated attention, norms around sub-layers."""
    first = config.count("num_dense_layers")
    mixer = attention(config, query_key_norm=HeadNorm(), gate="values")
    seen = windows(config, every(config.size("global_attn_every_n_layers")))
    fed = mixed(
        config, lambda index: index >= first, network(config), mixture(config, correction=True)
    )
    return compose(config, windowed(mixer, seen), fed, **_SANDWICH)


def _beam(config: Config) -> Transformer:
    """Read BEAM: gates with a bias a head; every sixth layer and the last see all."""
    last = config.layers(*LAYERS) - 1
    mixer = attention(config, query_key_norm=HeadNorm(), gate="values", gate_bias=True)
    seen = windows(config, lambda index: FULL if index == last else every(6)(index))
    fed = mixed(config, lambda index: index >= 3, network(config), mixture(config))
    return compose(config, windowed(mixer, seen), fed, **_SANDWICH)


def _kolibri(config: Config) -> Transformer:
    experts = mixture(config, shared_width=config.size("shared_expert_intermediate_size"))
    mixer = attention(config, query_key_norm=HeadNorm())
    return compose(config, windowed(mixer, windows(config, every(5))), experts, **_SANDWICH)


def _laguna(config: Config) -> Transformer:
    """Read Laguna, whose layers may have different numbers of heads, and a gate for each."""
    layers = config.layers(*LAYERS)
    gate = "heads" if config.flag("gating") else None
    mixer = attention(config, query_key_norm=HeadNorm(), gate=gate)
    heads = config.sizes("num_attention_heads_per_layer", (config.size(*HEADS),))
    heads = heads * layers if len(heads) == 1 else heads
    seen = windows(config, every(1))
    mixers = [
        replace(mixer, heads=count, window=window)
        for count, window in zip(heads, seen, strict=False)
    ]
    experts = mixture(
        config, shared_width=config.size("shared_expert_intermediate_size"), correction=True
    )
    return compose(config, mixers, mixed(config, lambda index: index > 0, network(config), experts))


def _mimo(config: Config) -> Transformer:
    """Read MiMo-V2: sliding layers have sinks and twice the groups of keys and values."""
    mixer = attention(config, value_dim=config.size("v_head_dim"))
    slider = replace(mixer, kv_heads=2 * mixer.kv_heads, sinks=True)
    config.ignore("sliding_window_size")
    seen = windows(config, lambda index: SLIDING if index and (index + 1) % 6 else FULL)
    mixers = [mixer if window is None else replace(slider, window=window) for window in seen]
    fed = mixed(config, lambda index: index > 0, network(config), mixture(config))
    return compose(config, mixers, fed)


def _minimax_m3(config: Config) -> Transformer:
    """Read the decoder of MiniMax-M3: in sparse layers small heads pick blocks of keys."""
    layers = config.layers(*LAYERS)
    config.ignore("sparse_attention_config", "moe_intermediate_size", "first_k_dense_replace")
    config.ignore("use_gemma_norm", "use_routing_bias", "qk_norm_type", "use_qk_norm", "rotary_dim")
    config.ignore("attention_output_gate", "moe_layer_freq", *SHARED)
    given = config.nested("sparse_attention_config")
    given.ignore(*given.values)

    def size(key: str, older: str) -> int:
        return given.size(older) if given.present(older) else config.size(key)

    mixer = attention(config, query_key_norm=HeadNorm())
    shape = {field.name: getattr(mixer, field.name) for field in fields(mixer)}
    blocks, block = (
        size("index_topk_blocks", "sparse_topk_blocks"),
        size("index_block_size", "sparse_block_size"),
    )
    size("index_local_blocks", "sparse_local_block")
    indexed = BlockSparseAttention(
        index_heads=size("index_n_heads", "sparse_num_index_heads"),
        index_dim=size("index_head_dim", "sparse_index_dim"),
        picked=blocks * block,
        **shape,
    )
    listed = given.indices("sparse_attention_freq")
    sparse = dict(enumerate(listed)) if len(listed) == layers else {}
    seen = kinds(
        config, "layer_types", (FULL, INDEXED), lambda index: INDEXED if sparse.get(index) else FULL
    )
    experts = mixture(
        config,
        width=config.size("intermediate_size"),
        shared_width=config.size("shared_intermediate_size"),
        fused_shared_gate=True,
    )
    dense = network(config, width=config.size("dense_intermediate_size"), fused_gate=True)
    routed = config.values.get("moe_layer_freq")
    freq = config.indices("moe_layer_freq") if isinstance(routed, list) else ()
    fed = mixed(config, lambda index: not freq or bool(freq[index % len(freq)]), dense, experts)
    return compose(config, [indexed if kind == INDEXED else mixer for kind in seen], fed)


def _step(config: Config) -> Transformer:
    """Read Step 3.5 and 3.7: a gate for each head, which sliding layers may have more of."""
    config.ignore("swiglu_limits", "swiglu_limits_shared", "moe_layers_enum", "use_moe_router_bias")
    config.ignore("moe_router_scaling_factor", "query_pre_attn_scalar", "need_fp32_gate")
    config.ignore("n_shared_experts", "mtp_layer_types", "mtp_mlp_layer_types", "layer_types")
    config.ignore("attention_other_setting", "use_head_wise_attn_gate", "partial_rotary_factors")
    layers = config.layers(*LAYERS)
    mixer = attention(config, query_key_norm=HeadNorm(), gate="heads")
    other = config.values.get("attention_other_setting")
    heads = config.optional_size("num_sliding_attention_heads")
    if heads is None and isinstance(other, dict):
        heads = config.nested("attention_other_setting").optional_size("num_attention_heads")
    slider = replace(mixer, heads=heads or mixer.heads)
    seen = windows(config, every(1, FULL))
    mixers = [mixer if window is None else replace(slider, window=window) for window in seen]
    first = config.count("first_k_dense_replace", default=3)
    listed = config.values.get("moe_layers_enum")  # "3,4,5,…", or a list
    named = str(listed).strip("[]").split(",") if listed else []
    routed = {int(name) for name in named if name.strip().isdecimal()} or set(range(first, layers))
    experts = mixture(config, shared_width=config.size("share_expert_dim"))
    fed = mixed(config, lambda index: index in routed, network(config), experts)
    return compose(config, mixers, fed)


def _llama4(config: Config) -> Transformer:
    """Read Llama 4: layers that see a chunk or all, experts in every so many layers.

    Its reference code runs every expert on every token.
    """
    layers = config.layers(*LAYERS)
    period = config.size("no_rope_layer_interval")
    chunk = config.optional_size("attention_chunk_size")
    bare = HeadNorm(style=NormStyle(kind="rms", weight=False))
    mixer = attention(config, query_key_norm=bare if config.flag("use_qk_norm") else None)
    rotated = config.indices("no_rope_layers")

    def kind(index: int) -> str:
        if len(rotated) == layers:
            return CHUNKED if rotated[index] else FULL
        return every(period, FULL, CHUNKED)(index)

    seen = kinds(config, "layer_types", (FULL, CHUNKED), kind)
    mixers = [replace(mixer, window=chunk if kind == CHUNKED else None) for kind in seen]
    step = config.size("interleave_moe_layer_step")
    listed = config.indices("moe_layers")
    width = config.size("intermediate_size")
    experts = mixture(config, width=width, shared_width=width, exhaustive=True)
    dense = network(config, width=config.size("intermediate_size_mlp"))
    routed = listed if config.present("moe_layers") else range(step - 1, layers, step)
    return compose(config, mixers, [experts if i in routed else dense for i in range(layers)])


def _aria(config: Config) -> Transformer:
    return compose(config, attention(config), mixture(config))


def _flint(config: Config) -> Transformer:
    """Read Flint: sinks in every layer; the first, every fourth and the last see all."""
    last = config.layers(*LAYERS) - 1
    mixer = attention(config, query_key_norm=HeadNorm(), sinks=True)
    seen = windows(
        config, lambda index: FULL if index < 2 or index % 4 == 1 or index == last else SLIDING
    )
    period = config.size("decoder_sparse_step")
    dense = config.indices("mlp_only_layers") if config.present("mlp_only_layers") else (0, 1)
    experts = mixture(config, shared_width=config.size("shared_expert_intermediate_size"))
    return compose(config, windowed(mixer, seen), _by_step(config, period, dense, experts))


def _granitemoe_swa(config: Config) -> Transformer:
    """Read Granite's mixture with sinks: every fourth layer, the first among them, sees all."""
    always = config.count("shared_intermediate_size")
    experts = mixture(config, shared_width=always, fused_shared_gate=True)
    seen = windows(config, lambda index: SLIDING if index % 4 else FULL)
    return compose(config, windowed(attention(config, sinks=True), seen), experts)


def _mellum(config: Config) -> Transformer:
    config.ignore("mtp_layer_types", "mtp_mlp_layer_types")
    mixer = attention(config, query_key_norm=HeadNorm())
    fed = mixed(config, lambda index: True, network(config), mixture(config))
    return compose(config, windowed(mixer, windows(config, every(1))), fed)


def _jetmoe(config: Config) -> Transformer:
    """Read JetMoE: routed experts in attention too."""
    config.ignore("num_attention_heads", "head_dim")
    experts = mixture(config, output_bias=True)
    mixer = RoutedAttention(
        experts=experts.experts,
        top_k=experts.top_k,
        kv_heads=config.size("num_key_value_heads"),
        head_dim=config.size("kv_channels"),
        dropout=dropped(config, "attention_dropout"),
    )
    return compose(config, mixer, experts)


def _dbrx(config: Config) -> Transformer:
    """Read DBRX, which describes attention and experts in mappings of their own."""
    inner, fed = config.nested("attn_config"), config.nested("ffn_config")
    inner.ignore("attn_pdrop", "clip_qkv", "rope_theta", "model_type")
    fed.ignore("ffn_act_fn", "moe_jitter_eps", "moe_loss_weight", "moe_normalize_expert_weights")
    fed.ignore("uniform_expert_assignment", "model_type", "hidden_size")
    experts, top_k = fed.size("moe_num_experts", default=4), fed.size("moe_top_k", default=1)
    mixer = attention(
        config,
        bias=False,
        kv_heads=inner.size("kv_n_heads", default=1),
        fused_projection=True,
    )
    return compose(
        config,
        mixer,
        MixtureOfExperts(
            width=fed.size("ffn_hidden_size", default=3584),
            experts=experts,
            top_k=min(top_k, experts),
        ),
        norm=PLAIN,
    )


READERS: dict[str, Reader] = {
    "afmoe": _afmoe,
    "aria_text": _aria,
    "beam": _beam,
    "cohere2_moe": _cohere2_moe,
    "dbrx": _dbrx,
    "dots1": _dots1,
    "ernie4_5_moe": _ernie_moe,
    "exaone_moe": _exaone_moe,
    "flex_olmo": _olmoe,
    "flint": _flint,
    "glm4_moe": _glm4_moe,
    "gpt_oss": _gpt_oss,
    "granitemoe": _granitemoe,
    "granitemoe_swa": _granitemoe_swa,
    "granitemoeshared": _granitemoe,
    "hunyuan_v1_moe": _hunyuan_moe,
    "hy_v3": _hy_v3,
    "jetmoe": _jetmoe,
    "kolibri1": _kolibri,
    "laguna": _laguna,
    "llama4_text": _llama4,
    "mellum": _mellum,
    "mimo_v2_flash": _mimo,
    "minimax_m2": _minimax_m2,
    "minimax_m3": _minimax_m3,
    "minimax_m3_vl_text": _minimax_m3,
    "mixtral": _mixtral,
    "olmoe": _olmoe,
    "phimoe": _phimoe,
    "qwen2_moe": _qwen2_moe,
    "qwen3_moe": _qwen3_moe,
    "solar_open": _solar_open,
    "step3p5": _step,
}
