"""Operators: one file a family, the same small methods on each (weights, work, saved, shard)."""

from costsim.architectures.operators.attention import Attention
from costsim.architectures.operators.base import Collective, Operator
from costsim.architectures.operators.convolution import Convolution, Sizes
from costsim.architectures.operators.experts import Experts, Routing
from costsim.architectures.operators.latent import Indexer, LatentAttention, LatentExpansion
from costsim.architectures.operators.linear import Columns, Linear
from costsim.architectures.operators.maps import ChannelNorm, Distances, Learned, Pooling
from costsim.architectures.operators.streaming import Elementwise, Held, Norm, Residual, Rotary
from costsim.architectures.operators.vocabulary import CrossEntropy, Embedding

__all__ = [
    "Attention",
    "ChannelNorm",
    "Collective",
    "Columns",
    "Convolution",
    "CrossEntropy",
    "Distances",
    "Elementwise",
    "Embedding",
    "Experts",
    "Held",
    "Indexer",
    "LatentAttention",
    "LatentExpansion",
    "Learned",
    "Linear",
    "Norm",
    "Operator",
    "Pooling",
    "Residual",
    "Rotary",
    "Routing",
    "Sizes",
]
