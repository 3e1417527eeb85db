"""Layers: what decoders are composed of. A new kind of mixer or network is one file here."""

from costsim.architectures.layers.alternating_updates import (
    AlternatingLayer,
    StreamProjections,
)
from costsim.architectures.layers.feed_forward import FeedForward
from costsim.architectures.layers.hyper_connection import HyperHead, HyperLayer
from costsim.architectures.layers.latent_attention import LatentSelfAttention, SparseIndex
from costsim.architectures.layers.layer import Layer, Mixer, SubLayer
from costsim.architectures.layers.mixture_of_experts import MixtureOfExperts
from costsim.architectures.layers.norm import RMS, WIDE_RMS, HeadNorm, NormStyle
from costsim.architectures.layers.repeated import Run, Start
from costsim.architectures.layers.routed_attention import RoutedAttention
from costsim.architectures.layers.self_attention import SelfAttention
from costsim.architectures.layers.token_inputs import TokenInput, TokenTable
from costsim.architectures.layers.transform import Transform

__all__ = [
    "RMS",
    "WIDE_RMS",
    "AlternatingLayer",
    "FeedForward",
    "HeadNorm",
    "HyperHead",
    "HyperLayer",
    "LatentSelfAttention",
    "Layer",
    "Mixer",
    "MixtureOfExperts",
    "NormStyle",
    "RoutedAttention",
    "Run",
    "SelfAttention",
    "SparseIndex",
    "Start",
    "StreamProjections",
    "SubLayer",
    "TokenInput",
    "TokenTable",
    "Transform",
]
