"""Gemma: heads wider than hidden / heads, norms around sub-layers, alternating windows."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    attention,
    compose,
    every,
    network,
    windowed,
    windows,
)
from costsim.architectures.layers import HeadNorm
from costsim.architectures.transformer import Transformer


def _gemma(config: Config) -> Transformer:
    return compose(config, attention(config), network(config))


def _gemma2(config: Config) -> Transformer:
    """Read Gemma 2: every second layer sees all; norms before and after each sub-layer."""
    return compose(
        config,
        windowed(attention(config), windows(config, every(2))),
        network(config),
        mixer_output_norm=True,
        feed_forward_output_norm=True,
    )


def _gemma3(config: Config) -> Transformer:
    """Read Gemma 3: every sixth layer sees all; norms of queries and keys."""
    period = config.size("sliding_window_pattern", "_sliding_window_pattern", default=6)
    mixer = attention(config, query_key_norm=HeadNorm())
    return compose(
        config,
        windowed(mixer, windows(config, every(period))),
        network(config),
        mixer_output_norm=True,
        feed_forward_output_norm=True,
    )


def _vaultgemma(config: Config) -> Transformer:
    return compose(config, windowed(attention(config), windows(config, every(2))), network(config))


READERS: dict[str, Reader] = {
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "vaultgemma": _vaultgemma,
}
