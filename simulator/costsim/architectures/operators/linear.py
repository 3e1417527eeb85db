"""Products of activations with a weight matrix: y = xW + b."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from costsim.algebra import Number, exact_div, maximum
from costsim.architectures.operators import eager, eager_work
from costsim.architectures.operators.base import Collective, Operator, Role
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, Gemm, Stream, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True)
class Columns:
    """A run of output columns that divides into at most `units` equal pieces (heads)."""

    outputs: Number
    units: Number
    biased: bool = True  # where the product has a bias

    def divided(self, tp: Number) -> Columns:
        """Columns on one of `tp` devices; an indivisible unit is held by several."""
        units = maximum(exact_div(self.units, tp), 1)
        return replace(self, outputs=exact_div(self.outputs * units, self.units), units=units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(Operator):
    """A matrix product with a weight: (rows, inputs) × (inputs, outputs).

    `split` says how tensor parallelism divides the weight: by `column` (outputs), by `row` (inputs,
    partial sums reduced afterwards), or not at all. `columns` lists projections of one source, such
    as queries, keys and values; `outputs` is their sum. Fused kernels compute them in one product;
    `separate` ones are a matrix and, in eager PyTorch, a product each.
    """

    source: str
    rows: Number
    inputs: Number
    columns: tuple[Columns, ...]
    bias: bool = False
    separate: bool = False
    split: Literal["column", "row"] | None = None
    tied_to: str | None = None
    use: Role = "matrix"
    kept_rows: Number | None = None  # rows of the input held for backward, where fewer (SP)
    leaf: bool = False  # reads what needs no gradient, such as patches of an image

    @classmethod
    def of(
        cls, name: str, source: str, rows: Number, inputs: Number, outputs: Number, **more: object
    ):
        """Return a product with one run of output columns."""
        return cls(
            name=name,
            source=source,
            rows=rows,
            inputs=inputs,
            columns=(Columns(outputs, outputs),),
            **more,  # pyright: ignore[reportArgumentType]
        )

    @property
    def outputs(self) -> Number:
        return sum(run.outputs for run in self.columns)

    @property
    def held_rows(self) -> Number:
        """Rows of the input that the backward pass finds on this device."""
        return self.rows if self.kept_rows is None else self.kept_rows

    @property
    def role(self) -> Role:
        return self.use

    def weights(self) -> tuple[Weight, ...]:
        runs = tuple(run.outputs for run in self.columns) if self.separate else (self.outputs,)
        matrix = Weight(
            f"{self.name}.weight",
            self.inputs * self.outputs,
            tied_to=self.tied_to,
            shapes=tuple((outputs, self.inputs) for outputs in runs),
        )
        if not self.bias:
            return (matrix,)
        biased = tuple(run.outputs for run in self.columns if run.biased)
        shapes = tuple((outputs,) for outputs in biased) if self.separate else ()
        return (matrix, Weight(f"{self.name}.bias", sum(biased), matrix=False, shapes=shapes))

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        if execution.style == "eager":
            return eager_work.linear(self, direction, execution)
        if direction == "forward":
            return (Gemm(self.rows, self.outputs, self.inputs),)
        weight = Gemm(self.inputs, self.outputs, self.rows, weights=False)  # its gradient: Xᵀ dY
        bias = (Stream(self.rows * self.outputs),) if self.bias else ()  # its gradient: a sum
        if self.leaf:
            return (weight, *bias)
        return (Gemm(self.rows, self.inputs, self.outputs), weight, *bias)  # of the input: dY Wᵀ

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        if execution.style == "eager":
            return eager.linear(self, execution)
        return (Activation(self.source, self.held_rows * self.inputs),)

    def collectives(self) -> tuple[Collective, ...]:
        if self.split == "column":
            return (Collective(self.source, self.rows * self.inputs, "entry"),)
        if self.split == "row":
            return (Collective(self.name, self.rows * self.outputs, "exit"),)
        return ()

    def shard(self, shard: Shard) -> Linear:
        if self.split == "column":
            columns = tuple(run.divided(shard.tp) for run in self.columns)
            return replace(self, columns=columns, kept_rows=shard.rows(self.rows))
        if self.split == "row":
            return replace(self, inputs=exact_div(self.inputs, shard.tp))
        return replace(self, rows=shard.rows(self.rows))
