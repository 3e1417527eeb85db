"""Operators that only pass over memory: norms, activation functions, residuals, rotations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from costsim.algebra import Number, exact_div
from costsim.architectures.operators import eager, eager_work
from costsim.architectures.operators.base import Operator
from costsim.architectures.tensors import Activation, Storage, Weight
from costsim.architectures.work import Direction, Stream, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm(Operator):
    """Layer or RMS normalization over `width`, of `groups` vectors a row (per-head norms).

    `unshared` groups have weights of their own. `wide` ones multiply with their weights in fp32,
    before they cast back (Gemma). `split` says what tensor parallelism divides: rows, groups, or
    the `columns` of one wide vector.
    """

    source: str
    rows: Number
    width: Number
    groups: Number = 1
    kind: Literal["layer", "rms"] = "layer"
    weight: bool = True
    bias: bool = True
    unshared: bool = False
    wide: bool = False
    split: Literal["sequence", "heads", "columns"] = "sequence"

    def weights(self) -> tuple[Weight, ...]:
        held: list[Weight] = []
        elements = self.groups * self.width if self.unshared else self.width
        if self.weight:
            held.append(Weight(f"{self.name}.weight", elements, matrix=False))
        if self.bias:
            held.append(Weight(f"{self.name}.bias", elements, matrix=False))
        return tuple(held)

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        if execution.style == "eager":
            return eager_work.norm(self, direction, execution)
        elements = self.rows * self.groups * self.width
        # Forward reads x, writes y; backward reads x and dy, writes dx, and sums dγ, dβ in two.
        return (Stream(2 * elements),) if direction == "forward" else (Stream(3 * elements, 3),)

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        if execution.style == "eager":
            return eager.norm(self, execution)
        return (Activation(self.source, self.rows * self.groups * self.width),)

    def shard(self, shard: Shard) -> Norm:
        if self.split == "heads":
            return replace(self, groups=exact_div(self.groups, shard.tp))
        if self.split == "columns":
            return replace(self, width=exact_div(self.width, shard.tp))
        return replace(self, rows=shard.rows(self.rows))


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor of `width` values a row that an element-wise operator keeps for backward."""

    name: str
    width: Number
    storage: Storage = "compute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Elementwise(Operator):
    """A fused pass that reads `read` and writes `written` values for each of `rows` positions.

    An activation `function` reads its first `holds`; a `gated` one multiplies what it makes of one
    half with the other half; `scalars` counts its trained numbers. `split` says where it runs: on
    columns that tensor parallelism divides, between its regions, or alike on every device (None).
    """

    rows: Number
    read: Number
    written: Number
    holds: tuple[Held, ...] = ()
    function: str | None = None
    gated: bool = False
    scalars: Number = 0
    split: Literal["sequence", "columns"] | None = "sequence"

    def weights(self) -> tuple[Weight, ...]:
        if not self.scalars:
            return ()
        return (Weight(f"{self.name}.scalars", self.scalars, matrix=False),)

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        if execution.style == "eager" and self.function is not None:
            return eager_work.activation(self, self.function, direction, execution)
        forward = self.rows * (self.read + self.written)
        if direction == "forward":
            return (Stream(forward),)
        # Backward reads the output's gradient and what was kept, writes the inputs' gradients.
        kept = sum(tensor.width for tensor in self.holds)
        return (Stream(self.rows * (self.written + self.read + kept)),)

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        if execution.style == "eager" and self.function is not None:
            return eager.activation(self, self.function)
        return tuple(Activation(t.name, self.rows * t.width, t.storage) for t in self.holds)

    def shard(self, shard: Shard) -> Self:
        if self.split is None:
            return self
        if self.split == "sequence":
            return replace(self, rows=shard.rows(self.rows))
        return replace(
            self,
            read=exact_div(self.read, shard.tp),
            written=exact_div(self.written, shard.tp),
            holds=tuple(replace(t, width=exact_div(t.width, shard.tp)) for t in self.holds),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotary(Elementwise):
    """Rotation of queries and keys by their position; cosines and sines are made once a model."""

    tokens: Number
    dim: Number  # values of a head that are rotated

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        if execution.style == "eager":
            return eager_work.rotary(self, direction, execution)
        return Elementwise.work(self, direction, execution)

    def shared(self, execution: Execution, *, recomputed: bool) -> tuple[Activation, ...]:
        if execution.style == "eager":
            return eager.rotary_tables(self, recomputed=recomputed)
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual(Operator):
    """Bias, dropout and the addition to the residual stream, as one pass.

    Keeps a mask where the model drops activations and the run trains with dropout; `source` is the
    format that what it drops comes in.
    """

    rows: Number
    width: Number
    dropout: bool = False
    source: Storage = "compute"

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        if execution.style == "eager":
            return eager_work.residual(self, direction, execution)
        # Forward reads two tensors and writes their sum; backward adds two gradients, and drops.
        drops = direction == "backward" and self.dropout and execution.dropout
        return (Stream(3 * self.rows * self.width, 1 + drops),)

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        if not (self.dropout and execution.dropout):
            return ()
        storage = eager.mask_storage(execution, self.source)
        return (Activation(f"{self.name}.mask", self.rows * self.width, storage),)

    def shard(self, shard: Shard) -> Residual:
        return replace(self, rows=shard.rows(self.rows))
