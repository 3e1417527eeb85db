"""Layers: what decoders are composed of. A new kind of mixer or network is one file here."""

from costsim.architectures.layers.feed_forward import FeedForward
from costsim.architectures.layers.latent_attention import LatentSelfAttention, SparseIndex
from costsim.architectures.layers.layer import Layer, Mixer, SubLayer
from costsim.architectures.layers.mixture_of_experts import MixtureOfExperts
from costsim.architectures.layers.norm import RMS, HeadNorm, NormStyle
from costsim.architectures.layers.self_attention import SelfAttention

__all__ = [
    "RMS",
    "FeedForward",
    "HeadNorm",
    "LatentSelfAttention",
    "Layer",
    "Mixer",
    "MixtureOfExperts",
    "NormStyle",
    "SelfAttention",
    "SparseIndex",
    "SubLayer",
]
