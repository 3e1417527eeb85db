"""Mamba-2 with attention, in turns (Bamba, Granite 4) or side by side (Falcon-H1)."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    FULL,
    LAYERS,
    attention,
    mixture,
    network,
)
from costsim.architectures.huggingface.hybrids.stacking import (
    LINEAR,
    layer_kinds,
    stacked,
    state_space_dual,
    whole,
)
from costsim.architectures.layers import RMS, FeedForward, Layer, Mixer, SubLayer
from costsim.architectures.layers.side_by_side import SideBySide
from costsim.architectures.layers.state_space_dual import StateSpaceDual
from costsim.architectures.transformer import Transformer


def _state_space(config: Config, width: int | None = None, **switches: bool) -> StateSpaceDual:
    if width is None:
        width = config.size("mamba_expand") * config.size("hidden_size")
    heads = config.size("mamba_n_heads")
    head_dim = whole(config, "mamba_n_heads", width, heads)
    if config.value("mamba_d_head") != "auto":
        written = config.size("mamba_d_head")
        config.require(
            written == head_dim,
            "mamba_d_head",
            f"is {written}, but {heads} heads share a width of {width}",
        )
    return state_space_dual(
        config,
        heads=heads,
        head_dim=head_dim,
        state="mamba_d_state",
        groups="mamba_n_groups",
        kernel="mamba_d_conv",
        chunk="mamba_chunk_size",
        bias=config.flag("mamba_proj_bias"),
        convolution_bias=config.flag("mamba_conv_bias"),
        **switches,
    )


def _in_turns(config: Config, found: tuple[str, ...], fed: SubLayer, mixer: Mixer) -> Transformer:
    mixers: dict[str, Mixer] = {FULL: mixer, LINEAR: _state_space(config)}
    return stacked(
        config, [Layer(mixer=mixers[kind], feed_forward=fed, norm=RMS) for kind in found]
    )


def _bamba(config: Config) -> Transformer:
    attends = set(config.indices("attn_layer_indices"))
    found = layer_kinds(
        config,
        "layers_block_type",
        "layer_types",
        otherwise=lambda index: FULL if index in attends else LINEAR,
    )
    return _in_turns(config, found, network(config), attention(config))


def _granite(config: Config) -> Transformer:
    config.ignore("embedding_multiplier", "logits_scaling", "residual_multiplier")
    config.ignore("attention_multiplier", "normalization_function", "init_method")
    rotary = config.value("position_embedding_type") == "rope"
    found = layer_kinds(config, "layer_types", "layers_block_type")
    shared = config.size("shared_intermediate_size")
    fed: SubLayer
    if config.count("num_local_experts"):
        fed = mixture(
            config,
            width=config.size("intermediate_size"),
            shared_width=shared,
            fused_shared_gate=True,
        )
    else:
        config.ignore("intermediate_size", "num_experts_per_tok")
        fed = FeedForward(width=shared, gated=True, activation="silu", fused_gate=True)
    return _in_turns(config, found, fed, attention(config, rotary=rotary))


def _falcon_h1(config: Config) -> Transformer:
    for key in ("lm_head", "embedding", "key", "attention_out", "attention_in"):
        config.ignore(f"{key}_multiplier")
    config.ignore("ssm_in_multiplier", "ssm_out_multiplier", "ssm_multipliers", "mlp_multipliers")
    config.ignore("mamba_norm_before_gate", "mamba_use_mlp", "attn_layer_indices")
    config.ignore("mamba_expand")
    state_space = _state_space(
        config,
        config.optional_size("mamba_d_ssm"),
        gated_norm=config.flag("mamba_rms_norm"),
        output_bias=config.flag("projectors_bias"),
    )
    mixer = SideBySide(mixers=(state_space, attention(config)))
    layer = Layer(mixer=mixer, feed_forward=network(config), norm=RMS)
    return stacked(config, [layer] * config.layers(*LAYERS))


READERS: dict[str, Reader] = {
    "bamba": _bamba,
    "granitemoehybrid": _granite,
    "falcon_h1": _falcon_h1,
}
