"""Lightning attention (MiniMax): linear attention with a fixed decay, worked through in blocks."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, ceil_div, minimum
from costsim.architectures.layers.norm import RMS
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class LightningAttention:
    """Queries, keys and values through an activation; a state of `head_dim`² for each head.

    The output is normalized as a whole, and gated by a sigmoid of the input. Sequences are worked
    through in blocks of `block` positions, the last of which may be shorter.
    """

    heads: Number
    head_dim: Number
    block: Number

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        hidden, width = x.width, self.heads * self.head_dim
        x, columns = x.within("attention"), Columns(width, self.heads)
        forward, backward = self._scan_flops(x.workload)
        made = x.linear("query_key_value", columns, columns, columns, split="column")
        scan = made.scan(
            "scan",
            width=width,
            read=3 * width,
            flops=forward,
            backward_flops=backward,
            state=width * self.head_dim,
            keeps=(made,),
        )
        norm = scan.norm("norm", RMS, split="columns")
        gate = x.linear("gate", columns, split="column")
        return gate.elementwise("gated", norm, split="columns").linear(
            "output", hidden, split="row"
        )

    def _scan_flops(self, workload: Workload) -> tuple[Number, Number]:
        """Return the FLOPs of the forward and of the backward pass through the scan."""
        tokens, dim, square = workload.tokens, self.head_dim, self.head_dim * self.head_dim
        heads = workload.batch * self.heads
        state = 2 * heads * tokens * square
        if workload.generates:
            return 2 * state, 4 * state  # 1. keys times values, 2. queries times the state
        last = tokens - (ceil_div(tokens, self.block) - 1) * self.block
        before = tokens - last
        scores = before * self.block + last * last
        # 3. Queries times keys, 4. scores times values.
        forward = 2 * state + 4 * heads * scores * dim
        # Nothing to the first state, which queries of a block read, nor from the last, which keys
        # and values of one wrote.
        idle = minimum(tokens, self.block) + 2 * last
        return forward, 2 * forward - 2 * heads * idle * square

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the state, the same for any `tokens`."""
        return (CacheTensor("state", batch * self.heads * self.head_dim * self.head_dim),)
