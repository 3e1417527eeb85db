"""The real-gated linear recurrent unit (Griffin, RecurrentGemma): one decaying value a channel."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, exact_div
from costsim.architectures.layers.short_convolution import causal_convolution
from costsim.architectures.operators import Columns, Elementwise, Held, Linear, Operator
from costsim.architectures.operators.block_diagonal import BlockDiagonal
from costsim.architectures.operators.recurrence import Recurrence
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearRecurrence:
    """Two branches of `width`: one through an activation; one convolved and scanned; multiplied.

    The gates of the scan are block-diagonal in `heads` blocks of channels.
    """

    width: Number
    heads: Number
    kernel: Number

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows, width = workload.rows, self.width
        block = exact_div(width, self.heads)
        projected, convolved, scan, product = (
            f"recurrence.{part}" for part in ("input", "convolution", "scan", "product")
        )
        gates = tuple(
            BlockDiagonal(
                name=f"recurrence.{gate}_gate",
                source=convolved,
                rows=rows,
                blocks=self.heads,
                inputs=block,
                outputs=block,
                bias=True,
            )
            for gate in ("input", "decay")
        )
        found: tuple[Operator, ...] = (
            Linear(
                name=projected,
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(Columns(width, self.heads),) * 2,
                bias=True,
                separate=True,
                split="column",
            ),
            causal_convolution(
                convolved,
                projected,
                workload,
                width,
                self.kernel,
                bias=True,
                remembered=self.kernel - 1,
            ),
            *gates,
            Recurrence(
                name=scan,
                rows=rows,
                read=3 * width,
                written=width,
                flops=0,
                state=workload.batch * width if workload.generates else 0,
                holds=(Held(convolved, width), *(Held(gate.name, width) for gate in gates)),
                vectors=(("decay", (width,)),),
            ),
            Elementwise(
                name=product,
                rows=rows,
                read=2 * width,
                written=width,
                holds=(Held("recurrence.branch", width), Held(scan, width)),
                split="columns",
            ),
            Linear.of("recurrence.output", product, rows, width, hidden, bias=True, split="row"),
        )
        return found, "recurrence.output"

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the state in fp32, and the convolution's last inputs, however many `tokens`."""
        return (
            CacheTensor("state", batch * self.width, "float32"),
            CacheTensor("convolution_state", batch * self.width * (self.kernel - 1)),
        )
