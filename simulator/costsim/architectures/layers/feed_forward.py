"""The dense feed-forward network: up, activation (gated or not), down."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """h → width → h; `gated` networks (SwiGLU, GeGLU) multiply two projections up.

    `inner_norm` normalizes what enters the projection down; `activation_weights` counts trained
    scalars of the activation function (xIELU); `name` tells networks of one layer apart.
    """

    width: Number
    gated: bool = False
    bias: bool = False
    down_bias: bool | None = None  # of the projection down, where it differs
    activation: str = "gelu"
    fused_gate: bool = False  # one matrix holds gate and up
    inner_norm: NormStyle | None = None
    activation_weights: int = 0
    name: str = "feed_forward"

    def build(self, x: Tensor) -> Tensor:
        """Record the network."""
        ups = (self.width,) * (2 if self.gated else 1)
        up = x.within(self.name).linear(
            "up", *ups, bias=self.bias, separate=not self.fused_gate, split="column"
        )
        inner = up.elementwise(
            "activation",
            width=self.width,
            function=self.activation,
            gated=self.gated,
            scalars=self.activation_weights,
            split="columns",
        )
        if self.inner_norm is not None:
            inner = inner.norm("inner_norm", self.inner_norm, split="columns")
        bias = self.bias if self.down_bias is None else self.down_bias
        return inner.linear("down", x.width, bias=bias, split="row")
