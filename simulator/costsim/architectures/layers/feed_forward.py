"""The dense feed-forward network: up, activation (gated or not), down."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.operators import Elementwise, Held, Linear, Operator
from costsim.architectures.operators.linear import Columns
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """h → width → h; `gated` networks (SwiGLU, GeGLU) multiply two projections up.

    `inner_norm` normalizes what enters the projection down; `activation_weights` counts trained
    scalars of the activation function (xIELU); `name` tells networks of one layer apart.
    """

    width: Number
    gated: bool = False
    bias: bool = False
    down_bias: bool | None = None  # of the projection down, where it differs
    activation: str = "gelu"
    fused_gate: bool = False  # one matrix holds gate and up
    inner_norm: NormStyle | None = None
    activation_weights: int = 0
    name: str = "feed_forward"

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the network's output, and its name."""
        ups = 2 if self.gated else 1
        rows, name = workload.rows, self.name
        inner = f"{name}.activation"
        found: list[Operator] = [
            Linear(
                name=f"{name}.up",
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(Columns(self.width, self.width),) * ups,
                bias=self.bias,
                separate=not self.fused_gate,
                split="column",
            ),
            Elementwise(
                name=inner,
                rows=rows,
                read=ups * self.width,
                written=self.width,
                holds=(Held(f"{name}.up", ups * self.width),),
                function=self.activation,
                gated=self.gated,
                scalars=self.activation_weights,
                split="columns",
            ),
        ]
        if self.inner_norm is not None:
            norm = self.inner_norm.operator(f"{name}.inner_norm", inner, rows, self.width)
            found.append(replace(norm, split="columns"))
            inner = norm.name
        bias = self.bias if self.down_bias is None else self.down_bias
        down = Linear.of(f"{name}.down", inner, rows, self.width, hidden, bias=bias, split="row")
        return (*found, down), down.name
