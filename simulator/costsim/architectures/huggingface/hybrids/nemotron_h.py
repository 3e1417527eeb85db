"""Nemotron-H: layers of one sub-layer each, Mamba-2, attention, a network or experts."""

from __future__ import annotations

from dataclasses import replace

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import FULL, attention, mixture, network
from costsim.architectures.huggingface.hybrids.stacking import (
    LINEAR,
    alone,
    stacked,
    state_space_dual,
)
from costsim.architectures.layers import FeedForward, SubLayer
from costsim.architectures.transformer import Transformer

_PATTERN = {"M": LINEAR, "E": "moe", "*": FULL, "-": "mlp"}
_OLDER = {"mamba": LINEAR, "attention": FULL}
_DEFAULT = (LINEAR, "moe", FULL, "mlp")  # one layer of each kind, as the library has it


def _nemotron_h(config: Config) -> Transformer:
    config.ignore("mtp_layers_block_type", "mtp_hybrid_override_pattern", "num_hidden_layers")
    config.ignore("moe_shared_expert_overlap", "mamba_ssm_cache_dtype", "expand", "mamba_expand")
    config.ignore(
        "mamba_proj_bias",
        "attention_bias",
        "hidden_dropout",
        "sliding_window",
        "mamba_dt_min",
        "mamba_dt_max",
    )
    config.ignore("mamba_dt_limit", "mamba_dt_init_floor", "mlp_hidden_act")
    sub_layers: dict[str, SubLayer] = {}
    found = _kinds(config)
    for kind in dict.fromkeys(found):
        if kind == LINEAR:
            sub_layers[kind] = _state_space(config)
        elif kind == FULL:
            sub_layers[kind] = attention(config, bias=False, rotary=False)
        elif kind == "mlp":
            sub_layers[kind] = network(config, gated=False, activation=_function(config))
        else:
            sub_layers[kind] = _experts(config)
    return stacked(config, [alone("mixer", sub_layers[kind]) for kind in found])


def _function(config: Config) -> str:
    return config.text("mlp_hidden_act")


def _kinds(config: Config) -> tuple[str, ...]:
    pattern = config.values.get("hybrid_override_pattern")
    config.ignore("hybrid_override_pattern")
    named = config.names("layers_block_type", (*_PATTERN.values(), *_OLDER))
    named = named or config.names("layer_types", (*_PATTERN.values(), *_OLDER))
    if named is not None:
        return tuple(_OLDER.get(name, name) for name in named)
    if not isinstance(pattern, str):
        return _DEFAULT
    wrong = set(pattern) - _PATTERN.keys()
    if wrong or not pattern:
        config.problem("hybrid_override_pattern", f"must be made of {' '.join(_PATTERN)}")
        return _DEFAULT
    return tuple(_PATTERN[letter] for letter in pattern)


def _state_space(config: Config):
    return state_space_dual(
        config,
        heads=config.size("mamba_num_heads"),
        head_dim=config.size("mamba_head_dim"),
        state="ssm_state_size",
        groups="mamba_n_groups" if config.present("mamba_n_groups") else "n_groups",
        kernel="mamba_d_conv" if config.present("mamba_d_conv") else "conv_kernel",
        chunk="mamba_chunk_size" if config.present("mamba_chunk_size") else "chunk_size",
        bias=config.flag("use_bias"),
        convolution_bias=config.flag("mamba_conv_bias", "use_conv_bias"),
    )


def _experts(config: Config) -> SubLayer:
    config.ignore("n_shared_experts")
    bias = config.flag("mlp_bias")
    function = _function(config)
    shared = FeedForward(
        width=config.size("moe_shared_expert_intermediate_size"),
        bias=bias,
        activation=function,
        name="feed_forward.shared",
    )
    routed = mixture(
        config,
        shared=False,
        gated=False,
        latent=config.optional_size("moe_latent_size"),
        latent_bias=bias,
    )
    return replace(routed, shared=shared)


READERS: dict[str, Reader] = {"nemotron_h": _nemotron_h}
