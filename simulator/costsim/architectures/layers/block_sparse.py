"""Grouped attention to blocks of keys that small heads pick for each query (MiniMax-M3)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.norm import HeadNorm
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.layers.self_attention import SelfAttention
from costsim.architectures.operators.wrapping import Detached
from costsim.architectures.tensors import CacheTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSparseAttention(SelfAttention):
    """Self-attention to `picked` positions, in blocks that `index_heads` scored best.

    No gradient passes through the choice. The reference code masks what was not picked.
    """

    index_heads: Number
    index_dim: Number
    picked: Number

    def build(self, x: Tensor) -> Tensor:
        """Record the choice, and the mixer."""
        with x.recorder.wrapped(Detached.around):
            self._choose(x.within("indexer"))
        context = self.attended(x)
        return context.linear("output", x.width, bias=self.output_bias, split="row")

    def _choose(self, x: Tensor) -> None:
        workload, heads, dim = x.workload, self.index_heads, self.index_dim
        query = x.linear("query", heads * dim).called("query", heads * dim)
        key = x.linear("key", dim).called("key", dim)
        query = query.head_norm("query", HeadNorm(), heads, dim)
        key = key.head_norm("key", HeadNorm(), 1, dim)
        query.product(
            "scores",
            key,
            rows=workload.tokens,
            inner=dim,
            columns=workload.kv_tokens,
            count=workload.batch * heads,
            split=None,
        )

    @property
    def selected(self) -> Number:
        """Positions that are attended to."""
        return self.picked

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return keys and values, and the keys of the choice."""
        held = SelfAttention.cache(self, batch, tokens)
        return (*held, CacheTensor("index_key", batch * tokens * self.index_dim, heads=1))
