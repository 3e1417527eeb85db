"""A dense layer with activation and norm, as stands before the heads of BERT's descendants."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.operators import Elementwise, Held, Linear, Operator
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """h → h, activation, norm."""

    norm: NormStyle
    bias: bool = False
    activation: str = "gelu"

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the output, and its name."""
        rows, dense = workload.rows, "transform.dense"
        active = Elementwise(
            name="transform.activation",
            rows=rows,
            read=hidden,
            written=hidden,
            holds=(Held(dense, hidden),),
            function=self.activation,
        )
        norm = self.norm.operator("transform.norm", active.name, rows, hidden)
        linear = Linear.of(dense, source, rows, hidden, hidden, bias=self.bias)
        return (linear, active, norm), norm.name
