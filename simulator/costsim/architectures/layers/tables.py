"""Tables of embeddings that are added to those of tokens, or to attention's scores."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.operators import Embedding
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True)
class Table:
    """`entries` rows, as wide as what they are added to unless `width` says otherwise.

    Look-ups of a `shared` table (positions) are made once for the batch. Some tables are looked
    into several `times` (the corners of a box); one of `pairs` for each query and key, once for
    the batch (distances).
    """

    name: str
    entries: Number
    width: Number | None = None
    shared: bool = False
    times: int = 1
    pairs: bool = False

    def operator(self, name: str, workload: Workload, width: Number) -> Embedding:
        """Return the look-up, called after `name`."""
        rows = workload.rows * self.times
        looked_up = workload.tokens if self.shared else None
        if self.pairs:
            rows = workload.tokens * workload.kv_tokens
        return Embedding(
            name=f"{name}.{self.name}",
            rows=rows,
            entries=self.entries,
            width=width if self.width is None else self.width,
            vocabulary=False,
            looked_up=looked_up,
        )
