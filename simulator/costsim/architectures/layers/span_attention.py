"""Attention beside a convolution whose kernel is made for each position."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanAttention:
    """Heads of attention beside as many of a convolution made for each position (ConvBERT)."""

    heads: Number
    head_dim: Number
    kernel: Number
    dropout: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        heads, width = self.heads, self.heads * self.head_dim
        at = x.within("attention")
        # Queries, keys, values and what the convolutions read.
        made = at.linear(
            "query_key_value",
            *(Columns(width, heads),) * 4,
            bias=True,
            separate=True,
            split="column",
        )
        depthwise = at.convolve("depthwise", x.width, self.kernel, groups=x.width)
        pointwise = depthwise.convolve("pointwise", width, 1, inputs=x.width)
        biased = pointwise.learned("pointwise.bias", (width, 1))
        span = made.called("query", width).elementwise("span", pointwise.made_by(biased))
        kernels = span.linear("kernel", heads * self.kernel, bias=True)
        made.called("windows").product(
            "convolved",
            kernels,
            rows=self.head_dim,
            inner=self.kernel,
            columns=1,
            count=x.rows * heads,
            split=None,
        )
        context = made.attend(heads, self.head_dim, causal=False, dropout=self.dropout)
        return context.called("context", 2 * width).linear("output", x.width, bias=True)
