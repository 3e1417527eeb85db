"""RWKV-4: time mixing and channel mixing, layer norms, no attention."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import AFFINE, LAYERS
from costsim.architectures.huggingface.hybrids.stacking import stacked
from costsim.architectures.layers.branches import Branch, Branches
from costsim.architectures.layers.time_mix import ChannelMix, TimeMix
from costsim.architectures.transformer import Transformer


def _rwkv(config: Config) -> Transformer:
    config.ignore("rescale_every")
    hidden = config.size("hidden_size")
    width = config.optional_size("intermediate_size") or 4 * hidden
    mixed = config.optional_size("attention_hidden_size") or hidden
    sub_layers = (
        ("mixer", TimeMix(width=mixed, hidden=hidden)),
        ("feed_forward", ChannelMix(width=width, hidden=hidden)),
    )
    layer = Branches(
        branches=tuple(
            Branch(name=name, sub_layer=sub_layer, before=AFFINE) for name, sub_layer in sub_layers
        )
    )
    layers = [layer] * config.layers(*LAYERS)
    return stacked(config, layers, norm=AFFINE, embedding_norm=AFFINE)


READERS: dict[str, Reader] = {"rwkv": _rwkv}
