"""Attention beside a convolution whose kernel is made for each position."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.unmasked import unmasked
from costsim.architectures.operators import (
    Columns,
    Convolution,
    Elementwise,
    Held,
    Learned,
    Linear,
    Operator,
)
from costsim.architectures.operators.products import Product
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanAttention:
    """Heads of attention beside as many of a convolution made for each position (ConvBERT)."""

    heads: Number
    head_dim: Number
    kernel: Number
    dropout: bool = False

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows, width = workload.rows, self.heads * self.head_dim
        columns = (Columns(width, self.heads),) * 4

        def along(name: str, read: str, outputs: Number, taps: Number, groups: Number):
            return Convolution(
                name=name,
                source=read,
                batch=workload.batch,
                sizes=(workload.tokens,),
                inputs=hidden,
                outputs=outputs,
                kernel=(taps,),
                stride=(1,),
                padded=(taps - 1,),
                dilation=(1,),
                groups=groups,
            )

        found: tuple[Operator, ...] = (
            # Queries, keys, values and what the convolutions read.
            Linear(
                name="attention.query_key_value",
                source=source,
                rows=rows,
                inputs=hidden,
                columns=columns,
                bias=True,
                separate=True,
                split="column",
            ),
            along("attention.depthwise", source, hidden, self.kernel, hidden),
            along("attention.pointwise", "attention.depthwise", width, 1, 1),
            Learned(name="attention.pointwise.bias", shapes=((width, 1),), elements=rows * width),
            Elementwise(
                name="attention.span",
                rows=rows,
                read=2 * width,
                written=width,
                holds=(Held("attention.query", width), Held("attention.pointwise", width)),
            ),
            Linear.of(
                "attention.kernel",
                "attention.span",
                rows,
                width,
                self.heads * self.kernel,
                bias=True,
            ),
            Product(
                name="attention.convolved",
                left="attention.windows",
                right="attention.kernel",
                rows=self.head_dim,
                inner=self.kernel,
                columns=1,
                count=rows * self.heads,
            ),
            unmasked(workload, self.heads, self.head_dim, self.dropout),
            Linear.of("attention.output", "attention.context", rows, 2 * width, hidden, bias=True),
        )
        return found, "attention.output"
