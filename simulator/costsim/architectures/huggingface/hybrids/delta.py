"""Gated delta nets with attention in every fourth layer: Qwen3-Next, Qwen3.5, OLMo-Hybrid."""

from __future__ import annotations

from collections.abc import Sequence

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    FULL,
    LAYERS,
    attention,
    every,
    mixture,
    network,
)
from costsim.architectures.huggingface.hybrids.stacking import LINEAR, layer_kinds, stacked
from costsim.architectures.layers import RMS, HeadNorm, Layer, Mixer, SubLayer
from costsim.architectures.layers.gated_delta import GatedDelta
from costsim.architectures.transformer import Transformer


def _qwen(config: Config) -> Transformer:
    """Read Qwen3-Next, and the text model of Qwen3.5: attention is gated, value by value."""
    mixers: dict[str, Mixer] = {
        LINEAR: _delta(config, fused=config.knows("decoder_sparse_step")),
        FULL: attention(config, query_key_norm=HeadNorm(), gate="values", gate_of_queries=True),
    }
    layers = [
        Layer(mixer=mixers[kind], feed_forward=fed, norm=RMS)
        for kind, fed in zip(_kinds(config), _networks(config), strict=False)
    ]
    return stacked(config, layers)


def _networks(config: Config) -> Sequence[SubLayer]:
    layers = config.layers(*LAYERS)
    if not config.knows("num_experts"):
        return [network(config)] * layers
    routed = mixture(
        config,
        width=config.size("moe_intermediate_size"),
        shared_width=config.size("shared_expert_intermediate_size"),
        shared_gate=True,
    )
    if not config.knows("decoder_sparse_step"):
        config.ignore("intermediate_size")
        return [routed] * layers
    step, dense = config.size("decoder_sparse_step"), network(config)
    spared = set(config.indices("mlp_only_layers"))
    return [
        routed if (index + 1) % step == 0 and index not in spared else dense
        for index in range(layers)
    ]


def _kinds(config: Config) -> tuple[str, ...]:
    period = config.size("full_attention_interval", default=4)
    return layer_kinds(config, "layer_types", otherwise=every(period, FULL, LINEAR))


def _delta(config: Config, *, fused: bool) -> GatedDelta:
    heads = config.size("linear_num_key_heads")
    values = config.size("linear_num_value_heads")
    config.require(
        values % heads == 0,
        "linear_num_value_heads",
        f"is {values}, no multiple of the {heads} of `linear_num_key_heads`",
    )
    return GatedDelta(
        key_heads=heads,
        value_heads=values,
        key_dim=config.size("linear_key_head_dim"),
        value_dim=config.size("linear_value_head_dim"),
        kernel=config.size("linear_conv_kernel_dim"),
        fused_projection=fused,
    )


def _olmo(config: Config) -> Transformer:
    """Read OLMo-Hybrid: attention layers normalize what they add, recurrent ones what they read."""
    for part in ("a_log_min", "a_log_max", "dt_min", "dt_max", "dt_init_floor", "allow_neg_eigval"):
        config.ignore(f"linear_{part}")
    heads = config.size("num_attention_heads")
    key_heads = config.optional_size("linear_num_key_heads") or heads
    key_dim = config.optional_size("linear_key_head_dim")
    if key_dim is None:
        key_dim = max(1, 3 * config.size("hidden_size") // (4 * key_heads))
    delta = GatedDelta(
        key_heads=key_heads,
        value_heads=config.optional_size("linear_num_value_heads") or heads,
        key_dim=key_dim,
        value_dim=config.optional_size("linear_value_head_dim") or 2 * key_dim,
        kernel=config.size("linear_conv_kernel_dim"),
    )
    fed = network(config)
    layers = {
        LINEAR: Layer(mixer=delta, feed_forward=fed, norm=RMS),
        FULL: Layer(
            mixer=attention(config, query_key_norm=HeadNorm(whole=True)),
            feed_forward=fed,
            norm=RMS,
            bare_mixer=True,
            bare_feed_forward=True,
            mixer_output_norm=True,
            feed_forward_output_norm=True,
        ),
    }
    found = list(layer_kinds(config, "layer_types", otherwise=every(4, FULL, LINEAR)))
    if not config.present("layer_types") and FULL not in found:
        found[-1] = FULL
    return stacked(config, [layers[kind] for kind in found])


READERS: dict[str, Reader] = {
    "qwen3_next": _qwen,
    "qwen3_5_text": _qwen,
    "qwen3_5_moe_text": _qwen,
    "olmo_hybrid": _olmo,
}
