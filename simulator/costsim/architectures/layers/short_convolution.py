"""A short convolution along a sequence as a mixer of its own."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.tensors import CacheTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortConvolution:
    """C ∘ convolution(B ∘ x), of three projections B, C and x (LFM2)."""

    kernel: Number
    hidden: Number
    bias: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        hidden, bias = x.width, self.bias
        made = x.within("convolution").linear(
            "input", hidden, hidden, hidden, bias=bias, split="column"
        )
        gated = made.elementwise("gated", read=2 * hidden, width=hidden, split="columns")
        convolved = gated.causal("", self.kernel, hidden, bias=bias)
        output = convolved.elementwise(
            "output_gate", made, read=2 * hidden, keeps=(convolved,), split="columns"
        )
        return output.linear("output", hidden, bias=bias, split="row")

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the last inputs of the convolution, as many as its kernel is wide."""
        return (CacheTensor("convolution_state", batch * self.hidden * self.kernel),)
