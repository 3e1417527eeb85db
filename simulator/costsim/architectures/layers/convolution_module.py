"""The convolution of a Conformer: a gate, a filter for each channel, a norm, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionModule:
    """h → 2·channels, gated to channels, filtered by `kernel` positions, normalized, back to h."""

    channels: Number
    kernel: Number
    bias: bool = True
    filter_bias: bool = False
    norm: Literal["batch", "layer"] = "batch"

    def build(self, x: Tensor) -> Tensor:
        """Record the module."""
        width, bias = self.channels, self.bias
        up = x.within("convolution").linear("up", 2 * width, bias=bias)
        filtered = up.elementwise("gated", width=width).convolve(
            "filter", width, self.kernel, groups=width, bias=self.filter_bias, split="channels"
        )
        if self.norm == "layer":
            normed = filtered.norm("norm", NormStyle(kind="layer"))
        else:
            normed = filtered.channel_norm("norm")
        active = normed.elementwise("activation", function="silu")
        return active.linear("down", x.width, bias=bias)
