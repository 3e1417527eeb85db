"""Llama and its kin: rotary positions, RMS norms, gated networks, grouped keys and values.

Mistral adds a sliding window, Qwen2 biases of queries, keys and values, Qwen3 norms of each head's
queries and keys; their defaults differ.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from costsim.algebra import Number
from costsim.architectures.decoder import WindowRuns, decoder
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.transformer import Transformer

_FULL, _SLIDING = "full_attention", "sliding_attention"


def _llama(config: Config) -> Transformer:
    attention_bias = config.flag("attention_bias", default=False)
    config.ignore("pretraining_tp")
    return _family(
        config,
        vocabulary=32000,
        feed_forward=11008,
        kv_heads=None,
        max_positions=2048,
        bias=config.flag("mlp_bias", default=False),
        query_key_value_bias=attention_bias,
        attention_output_bias=attention_bias,
    )


def _mistral(config: Config) -> Transformer:
    window = config.optional_size("sliding_window", default=4096)
    return _family(
        config,
        vocabulary=32000,
        feed_forward=14336,
        kv_heads=8,
        max_positions=131072,
        window_from=0 if window else None,
        window=window,
        bias=False,
    )


def _qwen2(config: Config) -> Transformer:
    return _family(
        config,
        vocabulary=151936,
        feed_forward=22016,
        kv_heads=32,
        max_positions=32768,
        **_qwen_window(config),
        bias=False,
        query_key_value_bias=True,
    )


def _qwen3(config: Config) -> Transformer:
    attention_bias = config.flag("attention_bias", default=False)
    return _family(
        config,
        vocabulary=151936,
        feed_forward=22016,
        kv_heads=32,
        head_dim=128,
        max_positions=32768,
        **_qwen_window(config),
        bias=False,
        query_key_value_bias=attention_bias,
        attention_output_bias=attention_bias,
        query_key_norm=True,
    )


READERS: dict[str, Reader] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
}


def _family(
    config: Config,
    *,
    vocabulary: int,
    feed_forward: int,
    kv_heads: int | None,
    max_positions: int,
    head_dim: int | None = None,
    window: int | None = None,
    window_from: int | None = None,
    **switches: Any,
) -> Transformer:
    """Read the keys that the family shares; the arguments are the defaults of one member.

    Layers from `window_from` on see a `window` unless `layer_types` says which do.
    """
    layers = config.size("num_hidden_layers", default=32)
    hidden = config.size("hidden_size", default=4096)
    heads = config.size("num_attention_heads", default=32)
    groups = config.optional_size("num_key_value_heads", default=kv_heads) or heads
    width = config.optional_size("head_dim", default=head_dim)
    config.require(
        width is not None or hidden % heads == 0,
        "hidden_size",
        f"{hidden} does not divide into {heads} heads, and there is no `head_dim`",
    )
    config.require(
        heads % groups == 0,
        "num_key_value_heads",
        f"{groups} does not divide the {heads} of `num_attention_heads`",
    )
    dropout = config.rate("attention_dropout", default=0.0)
    return decoder(
        layers=layers,
        hidden=hidden,
        heads=heads,
        vocabulary=config.size("vocab_size", default=vocabulary),
        feed_forward=config.size("intermediate_size", default=feed_forward),
        kv_heads=groups,
        head_dim=width or hidden // heads,
        gated=True,
        activation=config.text("hidden_act", default="silu"),
        norm="rms",
        positions="rotary",
        max_positions=config.size("max_position_embeddings", default=max_positions),
        tied=config.flag("tie_word_embeddings", default=False),
        window_runs=_window_runs(config, layers, window, window_from),
        attention_dropout=dropout > 0,
        **switches,
    )


def _qwen_window(config: Config) -> dict[str, int | None]:
    """Return Qwen's window, which is off by default and spares the first layers."""
    used = config.flag("use_sliding_window", default=False)
    config.ignore("sliding_window", "max_window_layers")
    if not used:
        return {"window": None}
    return {
        "window": config.optional_size("sliding_window", default=4096),
        "window_from": config.count("max_window_layers", default=28),
    }


def _window_runs(
    config: Config, layers: int, window: int | None, window_from: int | None
) -> WindowRuns:
    types = config.names("layer_types", (_FULL, _SLIDING))
    runs: list[tuple[Number | None, Number]]
    if types is not None:
        config.require(
            len(types) == layers,
            "layer_types",
            f"names {len(types)} layers, `num_hidden_layers` says {layers}",
        )
        windows = (window if kind == _SLIDING else None for kind in types)
        runs = [(seen, sum(1 for _ in run)) for seen, run in groupby(windows)]
    elif window is None or window_from is None:
        runs = [(None, layers)]
    else:
        full = min(window_from, layers)
        runs = [(None, full), (window, layers - full)]
    return tuple((seen, count) for seen, count in runs if count)
