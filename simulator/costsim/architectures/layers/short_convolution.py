"""Short convolutions along a sequence: inside recurrent mixers, and as a mixer of their own."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.operators import (
    Columns,
    Convolution,
    Elementwise,
    Held,
    Linear,
    Operator,
)
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


def causal_convolution(
    name: str,
    source: str,
    workload: Workload,
    channels: Number,
    kernel: Number,
    *,
    bias: bool,
    remembered: Number | None = None,
) -> Convolution:
    """Return a depthwise convolution over the positions up to each one.

    The reference code pads both ends and cuts what sticks out. While generating it convolves the
    `remembered` positions (`kernel` of them if not given) with the new one.
    """
    held = kernel if remembered is None else remembered
    size, padded = workload.tokens, 2 * (kernel - 1)
    if workload.generates:
        size, padded = held + workload.tokens, 0
    return Convolution(
        name=name,
        source=source,
        batch=workload.batch,
        sizes=(size,),
        inputs=channels,
        outputs=channels,
        kernel=(kernel,),
        stride=(1,),
        padded=(padded,),
        dilation=(1,),
        groups=channels,
        bias=bias,
        split="channels",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortConvolution:
    """C ∘ convolution(B ∘ x), of three projections B, C and x (LFM2)."""

    kernel: Number
    hidden: Number
    bias: bool = False

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows = workload.rows
        projected, gated = "convolution.input", "convolution.gated"
        return (
            Linear(
                name=projected,
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(Columns(hidden, hidden),) * 3,
                bias=self.bias,
                split="column",
            ),
            Elementwise(
                name=gated,
                rows=rows,
                read=2 * hidden,
                written=hidden,
                holds=(Held(projected, 3 * hidden),),
                split="columns",
            ),
            causal_convolution("convolution", gated, workload, hidden, self.kernel, bias=self.bias),
            Elementwise(
                name="convolution.output_gate",
                rows=rows,
                read=2 * hidden,
                written=hidden,
                holds=(Held("convolution", hidden),),
                split="columns",
            ),
            Linear.of(
                "convolution.output",
                "convolution.output_gate",
                rows,
                hidden,
                hidden,
                bias=self.bias,
                split="row",
            ),
        ), "convolution.output"

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the last inputs of the convolution, as many as its kernel is wide."""
        return (CacheTensor("convolution_state", batch * self.hidden * self.kernel),)
