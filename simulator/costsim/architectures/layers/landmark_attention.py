"""Attention by way of a few landmarks among the positions."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.unmasked import unmasked
from costsim.architectures.operators import Columns, Convolution, Linear, Operator
from costsim.architectures.operators.products import Product
from costsim.architectures.workload import Workload

INVERSE_STEPS = 6
"""Steps of the iteration by which Nyströmformer inverts its landmarks' scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LandmarkAttention:
    """Attention by way of `landmarks`, means of the positions, and an inverse (Nyströmformer).

    Where there are as many landmarks as positions in a segment it is plain attention. A
    convolution of `kernel` positions of the values is added for each head.
    """

    heads: Number
    head_dim: Number
    landmarks: Number
    segment: Number
    kernel: Number | None = None
    dropout: bool = False

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows, width = workload.rows, self.heads * self.head_dim
        found: list[Operator] = [
            Linear(
                name="attention.query_key_value",
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(Columns(width, self.heads),) * 3,
                bias=True,
                separate=True,
                split="column",
            )
        ]
        if self.landmarks == self.segment:
            found.append(unmasked(workload, self.heads, self.head_dim, self.dropout))
        else:
            found.extend(self._by_landmarks(workload))
        if self.kernel is not None:
            found.append(
                Convolution(
                    name="attention.convolved",
                    source="attention.value",
                    batch=workload.batch,
                    sizes=(workload.tokens, self.head_dim),
                    inputs=self.heads,
                    outputs=self.heads,
                    kernel=(self.kernel, 1),
                    stride=(1, 1),
                    padded=(self.kernel // 2 * 2, 0),
                    dilation=(1, 1),
                    groups=self.heads,
                    split="channels",
                )
            )
        output = Linear.of(
            "attention.output", "attention.context", rows, width, hidden, bias=True, split="row"
        )
        return (*found, output), output.name

    def _by_landmarks(self, workload: Workload) -> tuple[Operator, ...]:
        count, tokens, few = workload.batch * self.heads, workload.tokens, self.landmarks
        inverses = 4 * INVERSE_STEPS  # products of each step of the iteration

        def product(name: str, rows: Number, inner: Number, columns: Number, times: int = 1):
            return Product(
                name=f"attention.{name}",
                left=f"attention.{name}.left",
                right=f"attention.{name}.right",
                rows=rows,
                inner=inner,
                columns=columns,
                count=count * times,
                split="heads",
            )

        return (
            product("query_landmarks", tokens, self.head_dim, few),
            product("landmark_scores", few, self.head_dim, few),
            product("landmark_keys", few, self.head_dim, tokens),
            product("inverse", few, few, few, inverses),
            product("probabilities", tokens, few, few),
            product("values", few, tokens, self.head_dim),
            product("context", tokens, few, self.head_dim),
        )
