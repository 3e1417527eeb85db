"""Lightning attention (MiniMax): linear attention with a fixed decay, worked through in blocks."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, ceil_div, minimum
from costsim.architectures.operators import Columns, Elementwise, Held, Linear, Norm, Operator
from costsim.architectures.operators.recurrence import Recurrence
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

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows, width = workload.rows, self.heads * self.head_dim
        columns = Columns(width, self.heads)
        projected, scan, norm, gate = (
            f"attention.{part}" for part in ("query_key_value", "scan", "norm", "gate")
        )
        gated = "attention.gated"
        forward, backward = self._scan_flops(workload)
        state = self.heads * self.head_dim * self.head_dim
        found: tuple[Operator, ...] = (
            Linear(
                name=projected,
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(columns,) * 3,
                split="column",
            ),
            Recurrence(
                name=scan,
                rows=rows,
                read=3 * width,
                written=width,
                flops=forward,
                backward_flops=backward,
                state=workload.batch * state if workload.generates else 0,
                holds=(Held(projected, 3 * width),),
            ),
            Norm(
                name=norm,
                source=scan,
                rows=rows,
                width=width,
                kind="rms",
                bias=False,
                split="columns",
            ),
            Linear(
                name=gate,
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(columns,),
                split="column",
            ),
            Elementwise(
                name=gated,
                rows=rows,
                read=2 * width,
                written=width,
                holds=(Held(gate, width), Held(norm, width)),
                split="columns",
            ),
            Linear.of("attention.output", gated, rows, width, hidden, split="row"),
        )
        return found, "attention.output"

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
