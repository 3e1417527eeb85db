"""A sub-layer whose input is scaled by what a condition common to all positions says."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.layer import SubLayer
from costsim.architectures.operators import Elementwise, Held, Linear, Operator
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioned:
    """`inner` of a stream times scales, which a network of `rank` makes of one condition."""

    inner: SubLayer
    rank: Number

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the sub-layer's output, and its name."""
        condition = (
            Linear.of("condition.down", "condition", 1, hidden, self.rank),
            Elementwise(
                name="condition.activation",
                rows=1,
                read=self.rank,
                written=self.rank,
                holds=(Held("condition.down", self.rank),),
                function="gelu",
            ),
            Linear.of("condition.up", "condition.activation", 1, self.rank, hidden),
        )
        scaled = Elementwise(
            name="condition.scaled",
            rows=workload.rows,
            read=2 * hidden,
            written=hidden,
            holds=(Held(source, hidden),),
        )
        inner, output = self.inner.operators(workload, hidden, scaled.name)
        return (*condition, scaled, *inner), output
