"""Self-attention that also scores how far apart two positions are (Transformer-XL, Gopher)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.layers.self_attention import SelfAttention
from costsim.architectures.operators.relative import RelativePositions


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativeAttention(SelfAttention):
    """Self-attention with a term of the scores for relative positions.

    `memory` counts positions of the segment before, kept without gradient, that are attended too.
    Their keys and values are made anew by every layer; generation finds them in the cache.
    """

    memory: Number = 0

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        given = workload = x.workload
        remembers = not (isinstance(self.memory, int) and self.memory == 0)
        if remembers and not given.generates:
            workload = replace(given, context=given.kv_tokens + self.memory)
        x.within("attention").make(
            RelativePositions,
            "relative",
            self.heads * self.head_dim,
            batch=workload.batch,
            tokens=workload.tokens,
            context=workload.kv_tokens,
            inputs=x.width,
            heads=self.heads,
            head_dim=self.head_dim,
        )
        if workload is not given:
            recalled = x.beside(x.name, given.batch * self.memory, x.width).within("attention")
            weight = "attention.query_key_value.weight"
            recalled.linear("memory", *self.columns()[1:], split="column", tied_to=weight)
        with x.recorder.during(workload):
            return SelfAttention.build(self, x)
