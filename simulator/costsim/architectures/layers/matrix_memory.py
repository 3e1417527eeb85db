"""The matrix memory of xLSTM: a state of keys by values, with input and forget gates a head."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.operators import Columns, Elementwise, Held, Linear, Norm, Operator
from costsim.architectures.operators.recurrence import Recurrence
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixMemory:
    """Queries, keys, values; a state of `key_dim` × `value_dim` and its normalizer for each head.

    What is read is normalized by head and multiplied with the sigmoid of an output gate. Whole
    chunks of `chunk` positions are worked through at once, the rest position by position.
    """

    heads: Number
    key_dim: Number
    value_dim: Number
    chunk: Number
    bias: bool = False
    fused_projection: bool = False

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows = workload.rows
        keys = Columns(self.heads * self.key_dim, self.heads)
        values = Columns(self.heads * self.value_dim, self.heads)
        gates = Columns(self.heads, self.heads)
        read = 2 * keys.outputs + values.outputs
        width = values.outputs
        projected, gated = "memory.input", "memory.gated"
        found: tuple[Operator, ...] = (
            Linear(
                name=projected,
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(keys, keys, values, values),
                bias=self.bias,
                separate=not self.fused_projection,
                split="column",
            ),
            Linear(
                name="memory.gates",
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(gates, gates),
                bias=True,
                separate=not self.fused_projection,
                split="column",
            ),
            Recurrence(
                name="memory.scan",
                rows=rows,
                read=read + 2 * self.heads,
                written=width,
                flops=self._scan_flops(workload),
                state=workload.batch * self._state if workload.generates else 0,
                holds=(
                    Held("memory.query_key_value", read),
                    Held("memory.gates", 2 * self.heads),
                    Held("memory.scan", width),
                ),
                kernels=1 if workload.generates else 2,  # states of chunks, outputs
            ),
            Norm(
                name="memory.norm",
                source="memory.scan",
                rows=rows,
                width=self.value_dim,
                groups=self.heads,
                kind="layer",
                bias=self.bias,
                unshared=True,
                split="heads",
            ),
            Elementwise(
                name=gated,
                rows=rows,
                read=2 * width,
                written=width,
                holds=(Held("memory.output_gate", width), Held("memory.norm", width)),
                split="columns",
            ),
            Linear.of("memory.output", gated, rows, width, hidden, bias=self.bias, split="row"),
        )
        return found, "memory.output"

    @property
    def _state(self) -> Number:
        return self.heads * (self.key_dim * self.value_dim + self.key_dim + 1)

    def _scan_flops(self, workload: Workload) -> Number:
        # At every position keys times values, queries times the state and times its normalizer.
        each = 2 * self.key_dim * self.value_dim + self.key_dim
        products = workload.tokens * each
        if not workload.generates:
            chunks = workload.tokens // self.chunk
            scores = chunks * self.chunk * self.chunk
            products = products + scores * (self.key_dim + self.value_dim)
        return 2 * workload.batch * self.heads * products

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return state, normalizer and greatest exponent of each head, however many `tokens`."""
        return (CacheTensor("state", batch * self._state),)
