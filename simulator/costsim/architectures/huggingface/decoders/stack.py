"""What most decoders' configs have in common, read in one place.

A reader takes a mixer and a network for every layer (`attention`, `network`, `mixture`, varied by
`windows` and `sparse`), and `compose` stacks them. Keys have several spellings; the first that is
written counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from costsim.architectures.huggingface.config import Config
from costsim.architectures.layers import (
    RMS,
    FeedForward,
    Layer,
    Mixer,
    MixtureOfExperts,
    NormStyle,
    SelfAttention,
    SubLayer,
)
from costsim.architectures.layers.recording import in_runs
from costsim.architectures.transformer import Transformer

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HIDDEN = ("hidden_size", "n_embd", "d_model")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads")
GROUPS = ("num_key_value_heads", "num_kv_heads")
WIDTH = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "dff", "dim_ff")
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
FUNCTION = ("hidden_act", "hidden_activation", "activation_function", "activation", "afn")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
TOP_K = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk", "top_k_experts")
SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
INDEXED = "indexed_attention"
PLAIN = NormStyle(kind="layer", bias=False)
AFFINE = NormStyle(kind="layer")

Windows: TypeAlias = Sequence[int | None]

_ROUTERS = """
topk_method norm_topk_prob routed_scaling_factor route_scale scoring_func
router_aux_loss_coef aux_loss_alpha seq_aux output_router_logits router_jitter_noise
router_scaling_factor moe_routed_scaling_factor router_z_loss_coef ep_size moe_router_use_sigmoid
moe_router_logit_softcapping moe_apply_router_weight_on_input enable_moe_fp32_combine
router_dtype input_jitter_noise expert_selection_fn shared_expert_combination_strategy
aux_loss_coef moe_norm_min num_nextn_predict_layers num_mtp_layers moe_layer_freq
"""
_IDLE = """
pretraining_tp mup_enabled swiglu_alpha swiglu_limit attn_scale attn_temperature_tuning floor_scale
attention_value_scale original_max_position_embeddings no_rope_layers no_rope_layer_interval
n_ctx clip_qkv summary_type summary_use_proj summary_activation summary_proj_to_labels
summary_first_dropout scale_attn_weights attention_softmax_in_fp32
scale_attention_softmax_in_fp32 embedding_scale layer_rope_theta _sliding_window_pattern
use_bidirectional_attention layerdrop activation_dropout lambda_std_dev classifier_dropout
multi_query num_key_value_heads num_kv_heads embedding_initializer_range attention_head_type
use_sliding_window max_window_layers
"""


def switch(config: Config, key: str) -> bool:
    """Return a truth value that is false for model types that do not have it."""
    return config.flag(key) if config.knows(key) else False


def capped(config: Config, key: str) -> bool:
    """Return whether a tanh bounds what `key` names."""
    found = config.value(key) if config.knows(key) else None
    return isinstance(found, int | float) and found > 0


def dropped(config: Config, *keys: str) -> bool:
    """Return whether any of the rates under `keys` is more than 0."""
    rates = [config.rate(key) for key in keys if config.knows(key)]
    return any(rate > 0 for rate in rates)


def attention(config: Config, **switches: Any) -> SelfAttention:
    """Return the attention of a layer; biases are those of `attention_bias` unless given."""
    hidden = switches.pop("hidden", None) or config.size(*HIDDEN)
    heads = config.size(*HEADS)
    bias = switches.pop("bias", None)
    bias = switch(config, "attention_bias") if bias is None else bias
    width = switches.pop("head_dim", None) or config.optional_size("head_dim")
    groups = switches.pop("kv_heads", None) or config.optional_size(*GROUPS)
    groups = groups or config.derive(heads, *GROUPS)
    config.require(
        width is not None or hidden >= heads,
        "hidden_size",
        f"{hidden} is too narrow for {heads} heads, and there is no `head_dim`",
    )
    config.require(
        heads % groups == 0,
        "num_key_value_heads",
        f"{groups} does not divide the {heads} of `num_attention_heads`",
    )
    heads_norm = switches.get("query_key_norm")
    if heads_norm is not None:
        style = normalized(config, heads_norm.style)
        switches["query_key_norm"] = replace(heads_norm, style=style)
    given: dict[str, Any] = {
        "bias": bias,
        "output_bias": bias,
        "rotary": True,
        "dropout": dropped(
            config, "attention_dropout", "attn_pdrop", "attention_probs_dropout_prob"
        ),
        **switches,
    }
    return SelfAttention(
        heads=heads,
        kv_heads=groups,
        head_dim=width or max(1, hidden // heads),  # the library rounds down
        **given,
    )


def network(config: Config, **switches: Any) -> FeedForward:
    """Return the dense network of a layer: gated, with biases if `mlp_bias` says so."""
    bias, width = switches.pop("bias", None), switches.pop("width", None)
    function = any(config.knows(key) for key in FUNCTION)
    given: dict[str, Any] = {
        "gated": True,
        "bias": switch(config, "mlp_bias") if bias is None else bias,
        "activation": config.text(*FUNCTION) if function else "silu",
        **switches,
    }
    if width is None:
        width = config.optional_size(*WIDTH) or 4 * config.size(*HIDDEN)
    return FeedForward(width=width, **given)


def mixture(
    config: Config,
    *,
    width: int | None = None,
    shared_width: int | None = None,
    shared: bool = True,
    fused_shared_gate: bool = False,
    **switches: Any,
) -> MixtureOfExperts:
    """Return the experts of a layer; shared ones as many as the config says, each as wide."""
    experts, top_k = config.size(*EXPERTS), config.size(*TOP_K)
    config.require(
        top_k <= experts, TOP_K[0], f"{top_k} experts a token are more than the {experts} there are"
    )
    config.ignore(*_ROUTERS.split(), *FUNCTION)
    groups, limit = (config.optional_size(key) for key in ("n_group", "topk_group"))
    if groups is not None and limit is None:
        config.derive(groups, "topk_group")  # without a limit
    if groups is not None and limit is not None and limit < groups:
        switches = {"groups": groups, "group_limit": limit, **switches}
    if width is None:
        # A dense layer's width is none of an expert, and said even where no layer is dense.
        own = config.knows("moe_intermediate_size")
        config.ignore("intermediate_size")
        width = config.size("moe_intermediate_size" if own else "intermediate_size")
    if shared_width is None and shared and config.value(*SHARED) is not None:
        shared_width = config.count(*SHARED) * width
    network_ = None
    if shared_width:
        network_ = FeedForward(
            width=shared_width,
            gated=True,
            activation="silu",
            name="feed_forward.shared",
            fused_gate=fused_shared_gate,
        )
    return MixtureOfExperts(width=width, experts=experts, top_k=top_k, shared=network_, **switches)


def kinds(
    config: Config, key: str, choices: tuple[str, ...], otherwise: Callable[[int], str]
) -> tuple[str, ...]:
    """Return the kind of every layer, as `key` lists it or else as `otherwise` says."""
    layers = config.layers(*LAYERS)
    named = config.names(key, choices)
    if named is None:
        return tuple(otherwise(index) for index in range(layers))
    if len(named) > layers and len(named) == layers + further(config):
        named = named[:layers]  # the rest are of modules that predict further tokens
    config.require(
        len(named) == layers, key, f"names {len(named)} layers, `num_hidden_layers` says {layers}"
    )
    return named


def further(config: Config) -> int:
    """Return how many modules that predict further tokens a config counts."""
    found = config.values.get("num_nextn_predict_layers")
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def overridden(config: Config, index: int, key: str) -> int | None:
    """Return the value of `key` that `per_layer_config` has for a layer."""
    given = config.values.get("per_layer_config")
    if not isinstance(given, dict):
        return None
    table = config.nested("per_layer_config")
    name = next((name for name in table.values if name.isdecimal() and int(name) == index), None)
    if name is None:
        return None
    found = table.nested(name)
    found.ignore("num_key_value_heads")
    return found.optional_size(key, default=None)


def pattern(config: Config, key: str, default: int = 1) -> Callable[[int], str]:
    """Return the pattern under `key`: every so many layers see all, or letters of each (LLLG)."""
    written = config.value(key)
    if isinstance(written, str):
        config.require(
            bool(written) and set(written) <= set(_LETTERS),
            key,
            "must be a number of layers, or letters: L for a window, G for all",
        )
        letters = written or "G"
        return lambda index: _LETTERS.get(letters[index % len(letters)], FULL)
    return every(config.optional_size(key) or default)


_LETTERS = {"L": SLIDING, "G": FULL}


def every(period: int, kind: str = FULL, otherwise: str = SLIDING) -> Callable[[int], str]:
    """Return a pattern whose every `period`-th layer is of `kind`."""
    return lambda index: otherwise if (index + 1) % period else kind


def windows(
    config: Config, otherwise: Callable[[int], str] | None = None
) -> tuple[int | None, ...]:
    """Return how many positions each layer sees: all, or `sliding_window` as `layer_types` says.

    `otherwise` says which layers slide where that key is missing; without it all do. A window of
    null or 0 is none.
    """
    given = config.value("sliding_window") is not None
    if "sliding_window" not in config.values and not given and config.knows("sliding_window"):
        config.note("no `sliding_window` in the config: every position sees all before it")
    window = (config.count("sliding_window") if given else 0) or None
    found = kinds(config, "layer_types", (FULL, SLIDING), otherwise or every(1, SLIDING))
    return tuple(window if kind == SLIDING else None for kind in found)


def sparse(config: Config, otherwise: Callable[[int], bool]) -> tuple[bool, ...]:
    """Return which layers have experts: as `mlp_layer_types` lists, or else as `otherwise` says."""
    found = kinds(
        config,
        "mlp_layer_types",
        ("dense", "sparse"),
        lambda index: "sparse" if otherwise(index) else "dense",
    )
    return tuple(kind == "sparse" for kind in found)


def mixed(
    config: Config, otherwise: Callable[[int], bool], dense: SubLayer, experts: SubLayer
) -> list[SubLayer]:
    """Return a network for every layer: `experts` in sparse layers, `dense` in the others."""
    return [experts if routed else dense for routed in sparse(config, otherwise)]


def windowed(mixer: SelfAttention, seen: Windows) -> list[Mixer]:
    """Return `mixer` for every layer, each with its window."""
    return [replace(mixer, window=window) for window in seen]


_WIDE_TYPES = "flex_olmo flint gpt_oss helium minimax_m3_vl_text minimax_m3 olmo2 olmo3"
"""Types whose norms multiply with their weights in fp32, in the library's code."""


def normalized(config: Config, style: NormStyle) -> NormStyle:
    """Return how a model of this type normalizes where it does so in `style`."""
    wide = style == RMS and config.values.get("model_type") in _WIDE_TYPES.split()
    return replace(style, wide=True) if wide else style


def compose(
    config: Config,
    mixers: Mixer | Sequence[Mixer],
    networks: SubLayer | Sequence[SubLayer],
    *,
    norm: NormStyle = RMS,
    tied: bool | None = None,
    positions: int = 0,
    embedding_norm: NormStyle | None = None,
    final_norm: NormStyle | bool | None = True,
    head_bias: bool = False,
    beside: SubLayer | None = None,
    before_head: SubLayer | None = None,
    dropout: bool = False,
    vocabulary: int | None = None,
    hidden: int | None = None,
    embedding_width: int | None = None,
    **switches: Any,
) -> Transformer:
    """Return the decoder of one mixer and one network a layer; `switches` are those of layers.

    A single mixer or network stands in every layer.
    """
    layers, norm = config.layers(*LAYERS), normalized(config, norm)
    config.ignore(*_IDLE.split())
    mixing = list(mixers) if isinstance(mixers, Sequence) else [mixers] * layers
    feeding = list(networks) if isinstance(networks, Sequence) else [networks] * layers
    stacked = [
        Layer(mixer=mixer, feed_forward=fed, norm=norm, dropout=dropout, **switches)
        for mixer, fed in zip(mixing, feeding, strict=False)
    ]
    return Transformer(
        vocabulary=config.size("vocab_size") if vocabulary is None else vocabulary,
        hidden=config.size(*HIDDEN) if hidden is None else hidden,
        layers=in_runs(stacked),
        positions=positions,
        embedding_width=embedding_width,
        embedding_norm=embedding_norm,
        final_norm=norm if final_norm is True else final_norm or None,
        tied=config.flag("tie_word_embeddings") if tied is None else tied,
        head_bias=head_bias,
        beside=beside,
        before_head=before_head,
        capped=capped(config, "final_logit_softcapping"),
        dropout=dropout,
        context_limit=config.optional_size("model_max_length", *POSITIONS),
    )
