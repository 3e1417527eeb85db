"""The dense feed-forward network: up, activation (gated or not), down."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.operators import Elementwise, Held, Linear, Operator
from costsim.architectures.operators.linear import Columns
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """h → width → h; `gated` networks (SwiGLU, GeGLU) multiply two projections up."""

    width: Number
    gated: bool = False
    bias: bool = False
    activation: str = "gelu"
    fused_gate: bool = False  # one matrix holds gate and up

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the network's output, and its name."""
        ups = 2 if self.gated else 1
        rows = workload.rows
        return (
            Linear(
                name="feed_forward.up",
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(Columns(self.width, self.width),) * ups,
                bias=self.bias,
                separate=not self.fused_gate,
                split="column",
            ),
            Elementwise(
                name="feed_forward.activation",
                rows=rows,
                read=ups * self.width,
                written=self.width,
                holds=(Held("feed_forward.up", ups * self.width),),
                function=self.activation,
                gated=self.gated,
                split="columns",
            ),
            Linear.of(
                "feed_forward.down",
                "feed_forward.activation",
                rows,
                self.width,
                hidden,
                bias=self.bias,
                split="row",
            ),
        ), "feed_forward.down"
