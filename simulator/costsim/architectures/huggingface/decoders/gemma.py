"""Gemma: heads wider than hidden / heads, norms around sub-layers, alternating windows."""

from __future__ import annotations

from dataclasses import replace

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    FULL,
    LAYERS,
    attention,
    capped,
    compose,
    every,
    network,
    overridden,
    switch,
    windowed,
    windows,
)
from costsim.architectures.layers import (
    WIDE_RMS,
    AlternatingLayer,
    FeedForward,
    HeadNorm,
    Layer,
    Mixer,
    StreamProjections,
    SubLayer,
    TokenInput,
    TokenTable,
)
from costsim.architectures.layers.dense_and_sparse import DenseAndSparse
from costsim.architectures.transformer import Transformer

_MAX_STREAMS = 1000  # as many are projected one by one
_GEMMA_3N_WIDTH = 16384  # the library's, in every layer
_GLOBAL_HEAD_DIM = 512  # the library's, of layers that see all


_HEADS = HeadNorm(style=WIDE_RMS)


def _gemma(config: Config) -> Transformer:
    return compose(config, attention(config), network(config), norm=WIDE_RMS)


def _gemma2(config: Config) -> Transformer:
    """Read Gemma 2: every second layer sees all; norms before and after each sub-layer."""
    mixer = attention(config, capped=capped(config, "attn_logit_softcapping"))
    return compose(
        config,
        windowed(mixer, windows(config, every(2))),
        network(config),
        norm=WIDE_RMS,
        mixer_output_norm=True,
        feed_forward_output_norm=True,
    )


def _gemma3(config: Config) -> Transformer:
    """Read Gemma 3: every sixth layer sees all; norms of queries and keys."""
    period = config.size("sliding_window_pattern", "_sliding_window_pattern", default=6)
    mixer = attention(
        config, query_key_norm=_HEADS, capped=capped(config, "attn_logit_softcapping")
    )
    return compose(
        config,
        windowed(mixer, windows(config, every(period))),
        network(config),
        norm=WIDE_RMS,
        mixer_output_norm=True,
        feed_forward_output_norm=True,
    )


def _vaultgemma(config: Config) -> Transformer:
    return compose(
        config,
        windowed(
            attention(config, capped=capped(config, "attn_logit_softcapping")),
            windows(config, every(2)),
        ),
        network(config),
        norm=WIDE_RMS,
    )


def _gemma4(config: Config) -> Transformer:
    """Read Gemma 4: wide heads where all is seen, last layers that borrow keys and values.

    Each layer may get an embedding of the tokens of its own.
    """
    layers = config.layers(*LAYERS)
    routed = switch(config, "enable_moe_block")
    config.ignore("num_experts", "top_k_experts", "moe_intermediate_size", "per_layer_config")
    config.ignore("num_global_key_value_heads", "global_head_dim", "expert_intermediate_size")
    pattern = every(6)
    seen = windows(config, lambda index: FULL if index == layers - 1 else pattern(index))
    borrowing = layers - config.count("num_kv_shared_layers")
    alike = config.flag("attention_k_eq_v")
    mixer = attention(config, query_key_norm=_HEADS)
    groups = config.optional_size("num_global_key_value_heads", default=None) if alike else None
    mixers: list[Mixer] = []
    for index, window in enumerate(seen):
        found = replace(mixer, window=window, borrowed=index >= borrowing)
        if window is None:
            found = replace(
                found,
                head_dim=overridden(config, index, "head_dim")
                or config.size("global_head_dim", default=_GLOBAL_HEAD_DIM),
                kv_heads=overridden(config, index, "num_key_value_heads")
                or groups
                or mixer.kv_heads,
                keys_as_values=alike,
            )
        mixers.append(found)
    dense = network(config)
    wide = replace(dense, width=2 * dense.width) if config.flag("use_double_wide_mlp") else dense
    inputs = config.count("hidden_size_per_layer_input") if _has_inputs(config) else 0
    table = None
    if inputs:
        entries = config.size("vocab_size_per_layer_input")
        table = TokenTable(vocabulary=entries, width=inputs, layers=layers)
    return compose(
        config,
        mixers,
        [_fed(config, wide if index >= borrowing else dense, routed) for index in range(layers)],
        norm=WIDE_RMS,
        mixer_output_norm=True,
        feed_forward_output_norm=True,
        beside=table,
        after=(TokenInput(width=inputs),) if inputs else (),
    )


def _fed(config: Config, network: FeedForward, routed: bool) -> SubLayer:
    """Return the network of a layer, with experts beside it where the config says so."""
    if not routed:
        return network
    return DenseAndSparse(
        network=network,
        width=config.size("moe_intermediate_size", "expert_intermediate_size"),
        experts=config.size("num_experts"),
        top_k=config.size("top_k_experts", "num_experts_per_tok"),
    )


def _gemma3n(config: Config) -> Transformer:
    """Read Gemma 3n: several residual streams, an input of each layer, borrowed keys and values."""
    layers = config.layers(*LAYERS)
    widths = config.sizes("intermediate_size", (_GEMMA_3N_WIDTH,))
    config.require(
        len(widths) in (1, layers),
        "intermediate_size",
        f"lists {len(widths)} layers, `num_hidden_layers` says {layers}",
    )
    widths = widths if len(widths) == layers else widths[:1] * layers
    borrowing = layers - config.count("num_kv_shared_layers")
    streams, rank = config.size("altup_num_inputs"), config.size("laurel_rank")
    config.require(
        streams <= _MAX_STREAMS, "altup_num_inputs", f"must be at most {_MAX_STREAMS}, is {streams}"
    )
    config.ignore("altup_active_idx", "altup_coef_clip", "altup_correct_scale")
    config.ignore("activation_sparsity_pattern")
    mixer = attention(config, query_key_norm=_HEADS)
    seen = windows(config, every(5))
    inputs = config.size("hidden_size_per_layer_input")
    entries = config.size("vocab_size_per_layer_input")
    table = TokenTable(vocabulary=entries, width=inputs, layers=layers)
    stacked = compose(
        config,
        [
            replace(mixer, window=window, borrowed=index >= borrowing)
            for index, window in enumerate(seen)
        ],
        [network(config, width=width) for width in widths],
        norm=WIDE_RMS,
        mixer_output_norm=True,
        feed_forward_output_norm=True,
        beside=StreamProjections(streams=streams, name="embedding.streams", beside=table),
        before_head=StreamProjections(streams=streams, name="head.streams"),
        after=(TokenInput(width=inputs),),
    )
    runs = tuple(
        (AlternatingLayer(layer=layer, streams=streams, rank=rank), count)
        for layer, count in stacked.layers
        if isinstance(layer, Layer)
    )
    return replace(stacked, layers=runs)


def _has_inputs(config: Config) -> bool:
    return config.knows("hidden_size_per_layer_input")


READERS: dict[str, Reader] = {
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "gemma3n_text": _gemma3n,
    "gemma4_text": _gemma4,
    "gemma4_unified_text": _gemma4,
    "vaultgemma": _vaultgemma,
}
