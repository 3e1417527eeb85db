"""Tables of embeddings that are added to those of tokens, or to attention's scores."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Tensor


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

    def build(self, x: Tensor) -> Tensor:
        """Record the look-up, called after what `x` is within, and the norm of what it finds."""
        found = self.look_up(x, x.width)
        return found if self.norm is None else found.norm(f"{self.name}.norm", self.norm)

    def look_up(self, x: Tensor, width: Number) -> Tensor:
        """Record the look-up alone."""
        workload = x.workload
        rows = workload.rows * self.times
        if self.pairs:
            rows = workload.tokens * workload.kv_tokens
        elif self.whole:
            rows = self.entries
        return x.look_up(
            self.name,
            self.entries,
            width if self.columns is None else self.columns,
            rows=rows,
            vocabulary=False,
            looked_up=workload.tokens if self.shared else None,
        )
