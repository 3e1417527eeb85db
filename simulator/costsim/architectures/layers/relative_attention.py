"""Self-attention that also scores how far apart two positions are (Transformer-XL, Gopher)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number
from costsim.architectures.layers.self_attention import SelfAttention
from costsim.architectures.operators import Linear
from costsim.architectures.operators.base import Operator
from costsim.architectures.operators.relative import RelativePositions
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativeAttention(SelfAttention):
    """Self-attention with a term of the scores for relative positions.

    `memory` counts positions of the segment before, kept without gradient, that are attended too.
    Their keys and values are made anew by every layer; generation finds them in the cache.
    """

    memory: Number = 0

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        remembers = not (isinstance(self.memory, int) and self.memory == 0)
        if remembers and not workload.generates:
            workload = replace(workload, context=workload.kv_tokens + self.memory)
        found, name = SelfAttention.operators(self, workload, hidden, source)
        if remembers and not workload.generates:
            _, *keys_and_values = self._columns()
            recalled = Linear(
                name="attention.memory",
                source=source,
                rows=workload.batch * self.memory,
                inputs=hidden,
                columns=tuple(keys_and_values),
                split="column",
                tied_to="attention.query_key_value.weight",
            )
            found = (recalled, *found)
        relative = RelativePositions(
            name="attention.relative",
            batch=workload.batch,
            tokens=workload.tokens,
            context=workload.kv_tokens,
            inputs=hidden,
            heads=self.heads,
            head_dim=self.head_dim,
        )
        return (relative, *found), name
