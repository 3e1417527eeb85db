"""Liquid's LFM2 and LFM3: short convolutions with attention, dense or with experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    FULL,
    SLIDING,
    attention,
    mixture,
    network,
)
from costsim.architectures.huggingface.hybrids.stacking import layer_kinds, stacked
from costsim.architectures.layers import HeadNorm, Layer, Mixer, SubLayer
from costsim.architectures.layers.norm import RMS
from costsim.architectures.layers.short_convolution import ShortConvolution
from costsim.architectures.transformer import Transformer

_CONVOLUTION = "conv"
_CHOICES = (FULL, SLIDING, _CONVOLUTION)


def _lfm2(config: Config) -> Transformer:
    attends = config.indices("full_attn_idxs")
    given = config.present("full_attn_idxs")

    def usual(index: int) -> str:
        return FULL if index in attends or not given else _CONVOLUTION

    config.ignore("block_dim", "conv_dim", "conv_dim_out", "conv_use_xavier_init", "use_pos_enc")
    config.ignore("block_mlp_init_scale", "block_norm_eps", "block_out_init_scale")
    config.ignore("block_use_swiglu", "block_use_xavier_init", "num_heads", "theta")
    fed = network(config, width=_width(config), bias=False)
    return _stacked(config, usual, lambda index: fed)


def _width(config: Config) -> int:
    """Return the network's width: two thirds of what is written, rounded up to a multiple."""
    width = config.size("block_ff_dim", "intermediate_size")
    config.ignore("intermediate_size")
    adjusts = config.flag("block_auto_adjust_ff_dim")
    multiple, factor = config.size("block_multiple_of"), config.value("block_ffn_dim_multiplier")
    if not adjusts:
        return width
    width = 2 * width // 3
    if factor is None:
        return width
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < 1000:
        config.problem("block_ffn_dim_multiplier", "must be a positive number below 1000")
        return width
    return max(1, -(-int(factor * width) // multiple) * multiple)


def _lfm2_moe(config: Config) -> Transformer:
    config.ignore("use_expert_bias")
    dense, routed = network(config, bias=False), mixture(config, shared=False)
    first = config.count("num_dense_layers")
    return _stacked(config, lambda index: FULL, lambda index: routed if index >= first else dense)


def _lfm3(config: Config) -> Transformer:
    config.ignore("norm_eps")
    fed = network(config, bias=False)

    def usual(index: int) -> str:
        if index % 4 == 2:
            return FULL
        return SLIDING if index and index % 4 == 0 else _CONVOLUTION

    sandwich = config.flag("use_sandwich_norm")
    return _stacked(
        config,
        usual,
        lambda index: fed,
        window=config.optional_size("sliding_window"),
        gate="heads" if config.flag("use_attention_gate") else None,
        switches={"mixer_output_norm": sandwich, "feed_forward_output_norm": sandwich},
    )


def _stacked(
    config: Config,
    usual: Callable[[int], str],
    fed: Callable[[int], SubLayer],
    *,
    window: int | None = None,
    gate: str | None = None,
    switches: dict[str, Any] | None = None,
) -> Transformer:
    def attends(window: int | None) -> Mixer:
        return attention(config, query_key_norm=HeadNorm(), gate=gate, window=window)

    mixers: dict[str, Mixer] = {
        FULL: attends(None),
        SLIDING: attends(window),
        _CONVOLUTION: ShortConvolution(
            kernel=config.size("conv_L_cache"),
            hidden=config.size("hidden_size"),
            bias=config.flag("conv_bias"),
        ),
    }
    found = layer_kinds(config, "layer_types", choices=_CHOICES, otherwise=usual)
    layers = [
        Layer(mixer=mixers[kind], feed_forward=fed(index), norm=RMS, **(switches or {}))
        for index, kind in enumerate(found)
    ]
    return stacked(config, layers, tied="tie_embedding")


READERS: dict[str, Reader] = {"lfm2": _lfm2, "lfm2_moe": _lfm2_moe, "lfm3": _lfm3}
