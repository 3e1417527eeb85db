"""The convolution of a Conformer: a gate, a filter for each channel, a norm, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.operators import (
    ChannelNorm,
    Convolution,
    Elementwise,
    Held,
    Linear,
    Operator,
)
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionModule:
    """h → 2·channels, gated to channels, filtered by `kernel` positions, normalized, back to h."""

    channels: Number
    kernel: Number
    bias: bool = True
    filter_bias: bool = False
    norm: Literal["batch", "layer"] = "batch"

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the module's output, and its name."""
        rows, width = workload.rows, self.channels
        gated, filtered, normed = "convolution.gated", "convolution.filter", "convolution.norm"
        norm: Operator = ChannelNorm(
            name=normed,
            source=filtered,
            batch=workload.batch,
            positions=workload.tokens,
            channels=width,
        )
        if self.norm == "layer":
            norm = NormStyle(kind="layer").operator(normed, filtered, rows, width)
        found: tuple[Operator, ...] = (
            Linear.of("convolution.up", source, rows, hidden, 2 * width, bias=self.bias),
            Elementwise(
                name=gated,
                rows=rows,
                read=2 * width,
                written=width,
                holds=(Held("convolution.up", 2 * width),),
            ),
            Convolution(
                name=filtered,
                source=gated,
                batch=workload.batch,
                sizes=(workload.tokens,),
                inputs=width,
                outputs=width,
                kernel=(self.kernel,),
                stride=(1,),
                padded=(self.kernel - 1,),
                dilation=(1,),
                groups=width,
                bias=self.filter_bias,
                split="channels",
            ),
            norm,
            Elementwise(
                name="convolution.activation",
                rows=rows,
                read=width,
                written=width,
                holds=(Held(normed, width),),
                function="silu",
            ),
            Linear.of(
                "convolution.down", "convolution.activation", rows, width, hidden, bias=self.bias
            ),
        )
        return found, "convolution.down"
