"""Zamba's shared block: attention and network whose weights serve many layers, with adapters."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.feed_forward import FeedForward
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.layers.self_attention import SelfAttention
from costsim.architectures.operators.wrapping import Reused
from costsim.architectures.tensors import CacheTensor


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

    def build(self, x: Tensor) -> Tensor:
        """Record the block."""
        hidden, doubled = x.width, 2 * x.width
        at = x.beside(x.name, x.rows, doubled).within("shared")
        both = at.elementwise("both", keeps=())
        with x.recorder.wrapped(Reused.around if self.reused else None):
            normed = both.norm("input_norm", self.norm)
            context = self.attention.attended(normed)
            bias = self.attention.output_bias
            output = context.linear("output", hidden, bias=bias, split="row")
            fed = output.within("shared").norm("feed_forward_norm", self.norm)
            network = self.feed_forward.build(fed)
        if self.attention_adapters:
            for name in ("query", "key", "value"):
                self._adapt(normed, name, doubled)
        if self.adapter_rank is not None:
            self._adapt(fed, "up", 2 * self.feed_forward.width)
        return network.within("shared").linear("projection", hidden)

    def _adapt(self, x: Tensor, name: str, outputs: Number) -> None:
        low = x.linear(f"{name}_adapter.down", self.adapter_rank)
        low.linear(f"{name}_adapter.up", outputs, split="column")

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return keys and values of `tokens` positions: each layer has its own."""
        return self.attention.cache(batch, tokens)
