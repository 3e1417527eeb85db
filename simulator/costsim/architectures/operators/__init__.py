"""Operators: one file a family, the same small methods on each (weights, work, saved, shard)."""

from costsim.architectures.operators.attention import Attention
from costsim.architectures.operators.base import Collective, Operator
from costsim.architectures.operators.linear import Columns, Linear
from costsim.architectures.operators.streaming import Elementwise, Held, Norm, Residual, Rotary
from costsim.architectures.operators.vocabulary import CrossEntropy, Embedding

__all__ = [
    "Attention",
    "Collective",
    "Columns",
    "CrossEntropy",
    "Elementwise",
    "Embedding",
    "Held",
    "Linear",
    "Norm",
    "Operator",
    "Residual",
    "Rotary",
]
