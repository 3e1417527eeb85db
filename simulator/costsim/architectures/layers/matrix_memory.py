"""The matrix memory of xLSTM: a state of keys by values, with input and forget gates a head."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns
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

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        heads, separate = self.heads, not self.fused_projection
        keys, values = Columns(heads * self.key_dim, heads), Columns(heads * self.value_dim, heads)
        read, width, hidden = 2 * keys.outputs + values.outputs, values.outputs, x.width
        x = x.within("memory")
        made = x.linear(
            "input", keys, keys, values, values, bias=self.bias, separate=separate, split="column"
        )
        each = Columns(heads, heads)
        gates = x.linear("gates", each, each, bias=True, separate=separate, split="column")
        scan = made.scan(
            "scan",
            gates,
            width=width,
            read=read + 2 * heads,
            flops=self._scan_flops(x.workload),
            state=self._state,
            keeps=(made.called("query_key_value", read), gates, made.called("scan", width)),
            kernels=1 if x.workload.generates else 2,  # states of chunks, outputs
        )
        style = NormStyle(kind="layer", bias=self.bias)
        norm = scan.norm(
            "norm", style, width=self.value_dim, groups=heads, unshared=True, split="heads"
        )
        gated = made.called("output_gate", width).elementwise("gated", norm, split="columns")
        return gated.linear("output", hidden, bias=self.bias, split="row")

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
