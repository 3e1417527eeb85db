"""Lightning attention (MiniMax): linear attention with a fixed decay, worked through in blocks."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
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
                flops=self._scan_flops(workload),
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

    def _scan_flops(self, workload: Workload) -> Number:
        tokens, dim = workload.tokens, self.head_dim
        state = 2 * tokens * dim * dim  # 1. keys times values, 2. queries times the state
        if not workload.generates:
            blocks = tokens // self.block
            rest = tokens - blocks * self.block
            scores = blocks * self.block * self.block + rest * rest
            state = state + 2 * scores * dim  # 3. queries times keys, 4. scores times values
        return 2 * workload.batch * self.heads * state

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the state, the same for any `tokens`."""
        return (CacheTensor("state", batch * self.heads * self.head_dim * self.head_dim),)
