"""Layers whose products see only their own group of channels."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.unmasked import unmasked
from costsim.architectures.operators import Convolution, Elementwise, Held, Operator
from costsim.architectures.workload import Workload


def pointwise(
    name: str, source: str, workload: Workload, inputs: Number, outputs: Number, groups: Number
) -> Convolution:
    """Return a grouped product at each position: a convolution that sees one of them."""
    return Convolution(
        name=name,
        source=source,
        batch=workload.batch,
        sizes=(workload.tokens,),
        inputs=inputs,
        outputs=outputs,
        kernel=(1,),
        stride=(1,),
        padded=(0,),
        dilation=(1,),
        groups=groups,
        bias=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedAttention:
    """Self-attention whose projections see only their own group of channels (SqueezeBERT)."""

    heads: Number
    head_dim: Number
    query_groups: Number
    key_groups: Number
    value_groups: Number
    output_groups: Number
    dropout: bool = False

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        width = self.heads * self.head_dim
        projections = tuple(
            pointwise(f"attention.{name}", source, workload, hidden, width, groups)
            for name, groups in (
                ("query", self.query_groups),
                ("key", self.key_groups),
                ("value", self.value_groups),
            )
        )
        context = unmasked(workload, self.heads, self.head_dim, self.dropout)
        output = pointwise(
            "attention.output", context.name, workload, width, hidden, self.output_groups
        )
        return (*projections, context, output), output.name


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedNetwork:
    """A feed-forward network whose products see only their own group of channels."""

    width: Number
    up_groups: Number
    down_groups: Number
    activation: str = "gelu"

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the network's output, and its name."""
        up = pointwise("feed_forward.up", source, workload, hidden, self.width, self.up_groups)
        activation = Elementwise(
            name="feed_forward.activation",
            rows=workload.rows,
            read=self.width,
            written=self.width,
            holds=(Held(up.name, self.width),),
            function=self.activation,
        )
        down = pointwise(
            "feed_forward.down", activation.name, workload, self.width, hidden, self.down_groups
        )
        return (up, activation, down), down.name
