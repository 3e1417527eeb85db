"""MiniMax-01 and M1: lightning attention and softmax attention in turns, with experts."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import FULL, attention, mixture
from costsim.architectures.huggingface.hybrids.stacking import LINEAR, layer_kinds, stacked
from costsim.architectures.layers import RMS, Layer, Mixer
from costsim.architectures.layers.lightning_attention import LightningAttention
from costsim.architectures.transformer import Transformer


def _minimax(config: Config) -> Transformer:
    for part in ("full_attn", "linear_attn", "mlp", "layernorm_full_attention"):
        config.ignore(f"{part}_alpha_factor", f"{part}_beta_factor")
    softmax = attention(config, window=config.optional_size("sliding_window"))
    mixers: dict[str, Mixer] = {
        FULL: softmax,
        LINEAR: LightningAttention(
            heads=softmax.heads, head_dim=softmax.head_dim, block=config.size("block_size")
        ),
    }
    routed = mixture(config, shared=False)
    found = layer_kinds(
        config, "layer_types", otherwise=lambda index: LINEAR if index % 2 else FULL
    )
    layers = [Layer(mixer=mixers[kind], feed_forward=routed, norm=RMS) for kind in found]
    return stacked(config, layers)


READERS: dict[str, Reader] = {"minimax": _minimax}
