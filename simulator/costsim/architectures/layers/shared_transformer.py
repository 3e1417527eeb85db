"""Zamba's shared block: attention and network whose weights serve many layers, with adapters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from costsim.algebra import Number
from costsim.architectures.layers.feed_forward import FeedForward
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.self_attention import SelfAttention
from costsim.architectures.operators import Columns, Elementwise, Linear, Operator
from costsim.architectures.operators.wrapping import Reused
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedTransformer:
    """norm → attention → norm → network → projection, of the stream beside the embeddings.

    Attention reads both, twice as wide as the stream. The weights of all but projection and
    adapters are `reused` in all layers but the first that has them. Adapters, of `adapter_rank`,
    stand beside the network's projection up and, with `attention_adapters`, beside queries, keys
    and values.
    """

    attention: SelfAttention
    feed_forward: FeedForward
    norm: NormStyle
    reused: bool
    adapter_rank: Number | None = None
    attention_adapters: bool = False

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the block's output, and that one's name."""
        rows, doubled = workload.rows, 2 * hidden
        both, normed, fed = "shared.both", "shared.input_norm", "shared.feed_forward_norm"
        attended, _ = self.attention.operators(workload, doubled, normed)
        *before, output = attended
        assert isinstance(output, Linear)
        output = replace(output, columns=(Columns(hidden, hidden),))
        network, result = self.feed_forward.operators(workload, hidden, fed)
        found: list[Operator] = [
            Elementwise(name=both, rows=rows, read=doubled, written=doubled),
            *self._own(
                [
                    self.norm.operator(normed, both, rows, doubled),
                    *before,
                    output,
                    self.norm.operator(fed, output.name, rows, hidden),
                    *network,
                ]
            ),
        ]
        if self.attention_adapters:
            for name in ("query", "key", "value"):
                found.extend(self._adapter(f"shared.{name}", normed, rows, doubled, doubled))
        if self.adapter_rank is not None:
            up = 2 * self.feed_forward.width
            found.extend(self._adapter("shared.up", fed, rows, hidden, up))
        projection = "shared.projection"
        found.append(Linear.of(projection, result, rows, hidden, hidden))
        return tuple(found), projection

    def _own(self, operators: Iterable[Operator]) -> Iterable[Operator]:
        return map(Reused.around, operators) if self.reused else operators

    def _adapter(
        self, name: str, source: str, rows: Number, inputs: Number, outputs: Number
    ) -> tuple[Operator, ...]:
        down, up = f"{name}_adapter.down", f"{name}_adapter.up"
        return (
            Linear.of(down, source, rows, inputs, self.adapter_rank),
            Linear.of(up, down, rows, self.adapter_rank, outputs, split="column"),
        )

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return keys and values of `tokens` positions: each layer has its own."""
        return self.attention.cache(batch, tokens)
