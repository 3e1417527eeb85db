"""Tables of embeddings that are added to those of tokens, or to attention's scores."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.operators import Embedding, Operator
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True)
class Table:
    """`entries` rows, as wide as what they are added to unless `columns` says otherwise.

    Look-ups of a `shared` table (positions) are made once for the batch. Some tables are looked
    into several `times` (the corners of a box); one of `pairs` for each query and key, once for
    the batch (distances). Of a `whole` table every row is read once a pass, after a `norm`.
    """

    name: str
    entries: Number
    columns: Number | None = None
    shared: bool = False
    times: int = 1
    pairs: bool = False
    whole: bool = False
    norm: NormStyle | None = None

    def operators(self, name: str, workload: Workload, width: Number) -> tuple[Operator, ...]:
        """Return the look-up, called after `name`, and the norm of what it finds."""
        look_up = self.operator(name, workload, width)
        if self.norm is None:
            return (look_up,)
        norm = self.norm.operator(f"{look_up.name}.norm", look_up.name, look_up.rows, look_up.width)
        return (look_up, norm)

    def operator(self, name: str, workload: Workload, width: Number) -> Embedding:
        """Return the look-up, called after `name`."""
        rows = workload.rows * self.times
        looked_up = workload.tokens if self.shared else None
        if self.pairs:
            rows = workload.tokens * workload.kv_tokens
        elif self.whole:
            rows = self.entries
        return Embedding(
            name=f"{name}.{self.name}",
            rows=rows,
            entries=self.entries,
            width=width if self.columns is None else self.columns,
            vocabulary=False,
            looked_up=looked_up,
        )
