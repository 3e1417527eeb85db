"""Layers: what decoders are composed of. A new kind of mixer or network is one file here."""

from costsim.architectures.layers.feed_forward import FeedForward
from costsim.architectures.layers.layer import Layer, Mixer, NormStyle, SubLayer
from costsim.architectures.layers.self_attention import SelfAttention

__all__ = ["FeedForward", "Layer", "Mixer", "NormStyle", "SelfAttention", "SubLayer"]
