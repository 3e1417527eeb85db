"""The real-gated linear recurrent unit (Griffin, RecurrentGemma): one decaying value a channel."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, exact_div
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns
from costsim.architectures.tensors import CacheTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearRecurrence:
    """Two branches of `width`: one through an activation; one convolved and scanned; multiplied.

    The gates of the scan are block-diagonal in `heads` blocks of channels.
    """

    width: Number
    heads: Number
    kernel: Number

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        width = self.width
        block = exact_div(width, self.heads)
        both = (Columns(width, self.heads),) * 2
        made = x.within("recurrence").linear(
            "input", *both, bias=True, separate=True, split="column"
        )
        remembered = self.kernel - 1
        convolved = made.causal("convolution", self.kernel, width, bias=True, remembered=remembered)
        gates = tuple(
            convolved.blocks(f"{gate}_gate", self.heads, block, block, bias=True)
            for gate in ("input", "decay")
        )
        scan = convolved.scan(
            "scan",
            *gates,
            width=width,
            read=3 * width,
            flops=0,
            state=width,
            keeps=(convolved, *gates),
            vectors=(("decay", (width,)),),
        )
        product = made.called("branch", width).elementwise("product", scan, split="columns")
        return product.linear("output", x.width, bias=True, split="row")

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the state in fp32, and the convolution's last inputs, however many `tokens`."""
        return (
            CacheTensor("state", batch * self.width, "float32"),
            CacheTensor("convolution_state", batch * self.width * (self.kernel - 1)),
        )
