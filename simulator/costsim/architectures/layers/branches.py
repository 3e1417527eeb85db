"""A residual layer of any number of sub-layers, each with norms where its model has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from costsim.algebra import Number
from costsim.architectures.layers.layer import SubLayer
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.layers.tables import Table
from costsim.architectures.operators.wrapping import Idle
from costsim.architectures.tensors import CacheTensor


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

    def build(self, x: Tensor, dropout: bool = False) -> Tensor:
        """Record the branch; what it returns is the next stream."""
        with x.recorder.wrapped(Idle.around if self.idle else None):
            stream = self._stream(x, dropout)
        return x if self.idle else stream

    def _stream(self, x: Tensor, dropout: bool) -> Tensor:
        name, source = self.name, x
        if self.before is not None:
            source = x.norm(f"{name}_norm", self.before)
        if self.table is not None:
            self.table.look_up(x.within(name), 1)
        output = self.sub_layer.build(source).within("")
        if self.after is not None:
            output = output.norm(f"{name}_output_norm", self.after)
        if self.scales != 0:
            scaled = output.learned(f"{name}.scale", (self.scales,), scales=True)
            output = output.made_by(scaled)
        if self.add:
            output = output.residual(f"{name}_residual", x, dropout=dropout)
        if self.behind is not None:
            output = output.norm(f"{name}_sum_norm", self.behind)
        return output


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """A layer of `branches`, one after the other."""

    branches: tuple[Branch, ...]
    dropout: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record one layer."""
        for branch in self.branches:
            x = branch.build(x, self.dropout)
        return x

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
