"""Layers whose products see only their own group of channels."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.recording import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedAttention:
    """Self-attention whose projections see only their own group of channels (SqueezeBERT)."""

    heads: Number
    head_dim: Number
    query_groups: Number
    key_groups: Number
    value_groups: Number
    output_groups: Number
    dropout: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        width, at = self.heads * self.head_dim, x.within("attention")
        query, key, value = (
            at.convolve(name, width, 1, groups=groups, bias=True)
            for name, groups in (
                ("query", self.query_groups),
                ("key", self.key_groups),
                ("value", self.value_groups),
            )
        )
        context = query.attend(
            self.heads, self.head_dim, key, value, causal=False, dropout=self.dropout
        )
        return context.convolve("output", x.width, 1, groups=self.output_groups, bias=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedNetwork:
    """A feed-forward network whose products see only their own group of channels."""

    width: Number
    up_groups: Number
    down_groups: Number
    activation: str = "gelu"

    def build(self, x: Tensor) -> Tensor:
        """Record the network."""
        up = x.within("feed_forward").convolve(
            "up", self.width, 1, groups=self.up_groups, bias=True
        )
        active = up.elementwise("activation", function=self.activation)
        return active.convolve("down", x.width, 1, groups=self.down_groups, bias=True)
