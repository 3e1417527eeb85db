"""A residual layer of any number of sub-layers, each with norms where its model has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from costsim.algebra import Number
from costsim.architectures.layers.layer import SubLayer
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.tables import Table
from costsim.architectures.operators import Learned, Operator, Residual
from costsim.architectures.operators.wrapping import Idle
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@runtime_checkable
class Caching(Protocol):
    """A sub-layer that keeps something between steps of generation."""

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what is kept after `tokens` positions of `batch` sequences."""
        ...


@runtime_checkable
class SourceCaching(Protocol):
    """A sub-layer that keeps what it made of an encoder's output."""

    def source_cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what is kept of `tokens` encoded positions of `batch` sequences."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """What stands between two additions to the residual stream, with up to three norms.

    `before` normalizes what it reads, `after` what it returns, `behind` the sum (post-norm). A
    branch that does not `add` replaces the stream. `scales` counts trained numbers that what it
    returns is multiplied with; a `table` adds to attention's scores. An `idle` branch has weights
    and leaves the stream as it is.
    """

    name: str
    sub_layer: SubLayer
    before: NormStyle | None = None
    after: NormStyle | None = None
    behind: NormStyle | None = None
    add: bool = True
    scales: Number = 0
    table: Table | None = None
    idle: bool = False

    def operators(
        self, workload: Workload, hidden: Number, stream: str, dropout: bool
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `stream` into the next one, and that one's name."""
        rows, source = workload.rows, stream
        found: list[Operator] = []
        if self.before is not None:
            source = f"{self.name}_norm"
            found.append(self.before.operator(source, stream, rows, hidden))
        if self.table is not None:
            found.append(self.table.operator(self.name, workload, 1))
        inner, output = self.sub_layer.operators(workload, hidden, source)
        found.extend(inner)
        if self.after is not None:
            found.append(self.after.operator(f"{self.name}_output_norm", output, rows, hidden))
            output = f"{self.name}_output_norm"
        if self.scales != 0:
            found.append(
                Learned(
                    name=f"{self.name}.scale",
                    shapes=((self.scales,),),
                    elements=rows * hidden,
                    multiplies=output,
                )
            )
        if self.add:
            output = f"{self.name}_residual"
            found.append(Residual(name=output, rows=rows, width=hidden, dropout=dropout))
        if self.behind is not None:
            found.append(self.behind.operator(f"{self.name}_sum_norm", output, rows, hidden))
            output = f"{self.name}_sum_norm"
        if self.idle:
            return tuple(Idle.around(operator) for operator in found), stream
        return tuple(found), output


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """A layer of `branches`, one after the other."""

    branches: tuple[Branch, ...]
    dropout: bool = False

    def operators(self, workload: Workload, hidden: Number) -> tuple[Operator, ...]:
        """Return the operators of one layer; its input is called `input`."""
        found: list[Operator] = []
        stream = "input"
        for branch in self.branches:
            inner, stream = branch.operators(workload, hidden, stream, self.dropout)
            found.extend(inner)
        return tuple(found)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what one layer keeps after `tokens` positions of `batch` sequences."""
        return tuple(
            tensor
            for branch in self.branches
            if isinstance(branch.sub_layer, Caching)
            for tensor in branch.sub_layer.cache(batch, tokens)
        )

    def source_cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what one layer keeps of `tokens` encoded positions of `batch` sequences."""
        return tuple(
            tensor
            for branch in self.branches
            if isinstance(branch.sub_layer, SourceCaching) and not branch.idle
            for tensor in branch.sub_layer.source_cache(batch, tokens)
        )


def residual_layer(
    *sub_layers: tuple[str, SubLayer],
    norm: NormStyle,
    pre_norm: bool = False,
    dropout: bool = False,
) -> Branches:
    """Return a layer of named sub-layers with a norm each: before it, or behind its addition."""
    return Branches(
        branches=tuple(
            Branch(
                name=name,
                sub_layer=sub_layer,
                before=norm if pre_norm else None,
                behind=None if pre_norm else norm,
            )
            for name, sub_layer in sub_layers
        ),
        dropout=dropout,
    )
