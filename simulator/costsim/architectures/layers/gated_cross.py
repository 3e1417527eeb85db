"""A decoder's layer that looks at images, and is passed over where there are none (Llama 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, ceil_div
from costsim.architectures.layers.feed_forward import FeedForward
from costsim.architectures.layers.layer import added
from costsim.architectures.layers.norm import RMS, HeadNorm
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns
from costsim.architectures.operators.wrapping import Idle
from costsim.architectures.tensors import CacheTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedCross:
    """Attention to `seen` vectors of each image and a network, each scaled by a trained gate."""

    heads: Number
    kv_heads: Number
    head_dim: Number
    feed_forward: FeedForward
    seen: Number

    def build(self, x: Tensor) -> Tensor:
        """Record one layer; without images its weights stay idle."""
        images = x.workload.images
        absent = type(images) is int and images == 0
        with x.recorder.wrapped(Idle.around if absent else None):
            context = self._attended(x.norm("mixer_norm", RMS), 1 if absent else images)
            output = context.linear("output", x.width, split="row").learned("gate", (1,))
            stream = added("mixer", output, x, None, False)
            fed = self.feed_forward.build(stream.norm("feed_forward_norm", RMS))
            fed = fed.learned("gate", (1,))
            stream = added("feed_forward", fed, stream, None, False)
        return x if absent else stream

    def _attended(self, x: Tensor, images: Number) -> Tensor:
        at = x.within("cross_attention")
        width = self.kv_heads * self.head_dim
        query = at.linear("query", Columns(self.heads * self.head_dim, self.heads), split="column")
        source = at.beside("vision.output", images * self.seen, x.width)
        with x.recorder.wrapped(Idle.around if x.workload.generates else None):
            columns = Columns(width, self.kv_heads)
            key = source.linear("key", columns, split="column")
            value = source.linear("value", columns, split="column")
            key = key.head_norm("key", HeadNorm(), self.kv_heads, self.head_dim)
        query = query.head_norm("query", HeadNorm(), self.heads, self.head_dim)
        return query.attend(
            self.heads,
            self.head_dim,
            key,
            value,
            kv_heads=self.kv_heads,
            context=ceil_div(images * self.seen, x.workload.batch),
            causal=False,
        )

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return nothing: what is kept of images depends on how many a sequence has."""
        del batch, tokens
        return ()
