"""Recording a layer: it is written in the order in which data flows, and operators come of it.

A `Tensor` knows its rows, width and name; each of its methods records an operator that reads it and
returns what that operator makes. Operators hold the names of the operators they read from.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from costsim.algebra import Number
from costsim.architectures.layers.norm import HeadNorm, NormStyle
from costsim.architectures.operators import (
    Attention,
    ChannelNorm,
    Columns,
    Convolution,
    CrossEntropy,
    Elementwise,
    Embedding,
    Held,
    Learned,
    Linear,
    Norm,
    Operator,
    Residual,
    Rotary,
)
from costsim.architectures.operators.base import Role
from costsim.architectures.operators.block_diagonal import BlockDiagonal
from costsim.architectures.operators.products import Product
from costsim.architectures.operators.recurrence import Recurrence
from costsim.architectures.tensors import Storage
from costsim.architectures.workload import Workload

INPUT = "input"
"""What a layer calls the stream that enters it."""


class Recorder:
    """The operators of a layer in the making, and what passes through it."""

    __slots__ = ("operators", "workload")

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.operators: list[Operator] = []

    @contextmanager
    def wrapped(self, wrap: Callable[[Operator], Operator] | None) -> Generator[None]:
        """Wrap what is recorded inside, where there is something to wrap it with."""
        before = len(self.operators)
        yield
        if wrap is not None:
            self.operators[before:] = map(wrap, self.operators[before:])

    @contextmanager
    def during(self, workload: Workload) -> Generator[None]:
        """Let another workload pass through what is recorded inside."""
        given, self.workload = self.workload, workload
        yield
        self.workload = given


class Tensor:
    """`width` values at each of `rows` positions, as the operator called `maker` made them.

    What it is read by is called after `scope`.
    """

    __slots__ = ("maker", "name", "recorder", "rows", "scope", "width")

    def __init__(
        self,
        recorder: Recorder,
        name: str,
        rows: Number,
        width: Number,
        scope: str = "",
        maker: str | None = None,
    ) -> None:
        self.recorder = recorder
        self.name = name
        self.rows = rows
        self.width = width
        self.scope = scope
        self.maker = name if maker is None else maker

    @property
    def workload(self) -> Workload:
        """What passes through the layer."""
        return self.recorder.workload

    def within(self, scope: str) -> Tensor:
        """Return it with another scope."""
        return Tensor(self.recorder, self.name, self.rows, self.width, scope, self.maker)

    def called(self, name: str, width: Number | None = None) -> Tensor:
        """Return it, or a part of it, under a name of its own; nothing is recorded."""
        width = self.width if width is None else width
        return Tensor(
            self.recorder, self._name(name), self.rows, width, self.scope, maker=self.maker
        )

    def called_as(self, name: str, width: Number) -> Tensor:
        """Return it under a whole name, and of a width, as it is given."""
        return Tensor(self.recorder, name, self.rows, width, self.scope, maker=self.maker)

    def made_by(self, other: Tensor) -> Tensor:
        """Return it as it is kept, where what reads it reads what `other` made of it."""
        return Tensor(
            self.recorder, self.name, self.rows, self.width, self.scope, maker=other.maker
        )

    def beside(self, name: str, rows: Number, width: Number) -> Tensor:
        """Return a tensor that comes from elsewhere, called `name`."""
        return Tensor(self.recorder, name, rows, width, self.scope)

    def _name(self, name: str) -> str:
        if not self.scope:
            return name
        return f"{self.scope}.{name}" if name else self.scope

    def make(
        self,
        kind: Callable[..., Operator],
        name: str,
        made: Number,
        /,
        *others: Tensor,
        made_rows: Number | None = None,
        **fields: Any,
    ) -> Tensor:
        """Record an operator of `kind` that reads this and `others`, and return what it makes.

        Args:
            kind: of operator.
            name: of the operator, inside the scope.
            made: width of what it makes.
            others: what else it reads.
            made_rows: rows of what it makes, where not those of this.
            fields: of the operator.
        """
        scope, recorder = self.scope, self.recorder
        if scope:
            name = f"{scope}.{name}" if name else scope
        reads = (self.maker, *[other.maker for other in others]) if others else (self.maker,)
        recorder.operators.append(kind(name=name, reads=reads, **fields))
        return Tensor(recorder, name, self.rows if made_rows is None else made_rows, made, scope)

    def linear(
        self,
        name: str,
        *outputs: Number | Columns,
        bias: bool = False,
        separate: bool = False,
        split: Literal["column", "row"] | None = None,
        tied_to: str | None = None,
        use: Role = "matrix",
        leaf: bool = False,
    ) -> Tensor:
        """Multiply with a matrix of `outputs`, one run of columns or several."""
        columns = tuple([run if isinstance(run, Columns) else Columns(run, run) for run in outputs])
        scope, recorder = self.scope, self.recorder
        if scope:
            name = f"{scope}.{name}"
        made = Linear(
            name=name,
            reads=(self.maker,),
            source=self.name,
            rows=self.rows,
            inputs=self.width,
            columns=columns,
            bias=bias,
            separate=separate,
            split=split,
            tied_to=tied_to,
            use=use,
            leaf=leaf,
        )
        recorder.operators.append(made)
        return Tensor(recorder, name, self.rows, made.outputs, scope)

    def norm(
        self,
        name: str,
        style: NormStyle,
        *,
        width: Number | None = None,
        groups: Number = 1,
        unshared: bool = False,
        split: Literal["sequence", "heads", "columns"] = "sequence",
    ) -> Tensor:
        """Normalize each row, or each of `groups` vectors of `width` in it."""
        if width is None:
            width = self.width
        return self.make(
            Norm,
            name,
            groups * width,
            source=self.name,
            rows=self.rows,
            width=width,
            groups=groups,
            kind=style.kind,
            weight=style.weight,
            bias=style.bias and style.kind == "layer",
            wide=style.wide,
            unshared=unshared,
            split=split,
        )

    def head_norm(self, name: str, style: HeadNorm, heads: Number, head_dim: Number) -> Tensor:
        """Normalize `heads` vectors of a projection, each or as a whole."""
        width = heads * head_dim
        source = self.called(f"{name}_projection", width)
        if style.whole:
            return source.norm(f"{name}_norm", style.style, split="columns")
        return source.norm(
            f"{name}_norm",
            style.style,
            width=head_dim,
            groups=heads,
            unshared=style.unshared,
            split="heads",
        )

    def elementwise(
        self,
        name: str,
        *others: Tensor,
        width: Number | None = None,
        read: Number | None = None,
        keeps: tuple[Tensor, ...] | None = None,
        function: str | None = None,
        gated: bool = False,
        scalars: Number = 0,
        split: Literal["sequence", "columns"] | None = "sequence",
    ) -> Tensor:
        """Pass over this and `others`, of which the backward pass `keeps` all unless told."""
        sources = (self, *others)
        width = self.width if width is None else width
        kept = sources if keeps is None else keeps
        return self.make(
            Elementwise,
            name,
            width,
            *others,
            rows=self.rows,
            read=sum(tensor.width for tensor in sources) if read is None else read,
            written=width,
            holds=tuple(Held(tensor.name, tensor.width) for tensor in kept),
            function=function,
            gated=gated,
            scalars=scalars,
            split=split,
        )

    def rotary(self, width: Number, dim: Number, *others: Tensor) -> Tensor:
        """Rotate `width` values of queries and keys by their position, `dim` of each head."""
        return self.make(
            Rotary,
            "rotary",
            width,
            *others,
            rows=self.rows,
            tokens=self.workload.tokens,
            dim=dim,
            read=width,
            written=width,
            split="columns",
        )

    def attend(
        self,
        heads: Number,
        head_dim: Number,
        *keys_and_values: Tensor,
        kv_heads: Number | None = None,
        value_dim: Number | None = None,
        context: Number | None = None,
        kind: Callable[..., Operator] = Attention,
        **fields: Any,
    ) -> Tensor:
        """Attend with these queries to `context` positions, all of the workload unless given."""
        workload = self.workload
        values = head_dim if value_dim is None else value_dim
        return self.make(
            kind,
            "context",
            heads * values,
            *keys_and_values,
            batch=workload.batch,
            query_heads=heads,
            kv_heads=heads if kv_heads is None else kv_heads,
            tokens=workload.tokens,
            context=workload.kv_tokens if context is None else context,
            head_dim=head_dim,
            value_dim=values,
            **fields,
        )

    def product(
        self,
        name: str,
        right: Tensor,
        *,
        rows: Number,
        inner: Number,
        columns: Number,
        count: Number,
        split: Literal["heads"] | None = "heads",
    ) -> Tensor:
        """Multiply `count` matrices of activations, this one's with `right` one's."""
        return self.make(
            Product,
            name,
            columns,
            right,
            left=self.name,
            right=right.name,
            rows=rows,
            inner=inner,
            columns=columns,
            count=count,
            split=split,
        )

    def blocks(
        self, name: str, blocks: Number, inputs: Number, outputs: Number, *, bias: bool = False
    ) -> Tensor:
        """Multiply each of `blocks` of channels with a matrix of its own."""
        return self.make(
            BlockDiagonal,
            name,
            blocks * outputs,
            source=self.name,
            rows=self.rows,
            blocks=blocks,
            inputs=inputs,
            outputs=outputs,
            bias=bias,
        )

    def convolve(
        self,
        name: str,
        outputs: Number,
        kernel: Number,
        *,
        inputs: Number | None = None,
        size: Number | None = None,
        padded: Number | None = None,
        groups: Number = 1,
        bias: bool = False,
        split: Literal["column", "row", "channels"] | None = None,
    ) -> Tensor:
        """Convolve along the sequence, keeping its length unless `padded` otherwise."""
        workload = self.workload
        return self.make(
            Convolution,
            name,
            outputs,
            source=self.name,
            batch=workload.batch,
            sizes=(workload.tokens if size is None else size,),
            inputs=self.width if inputs is None else inputs,
            outputs=outputs,
            kernel=(kernel,),
            stride=(1,),
            padded=(kernel - 1 if padded is None else padded,),
            dilation=(1,),
            groups=groups,
            bias=bias,
            split=split,
        )

    def causal(
        self,
        name: str,
        kernel: Number,
        channels: Number,
        *,
        bias: bool,
        remembered: Number | None = None,
    ) -> Tensor:
        """Convolve each of `channels` over the positions up to each one.

        The reference code pads both ends and cuts what sticks out. While generating it convolves
        the `remembered` positions (`kernel` of them if not given) with the new one.
        """
        workload = self.workload
        size, padded = workload.tokens, 2 * (kernel - 1)
        if workload.generates:
            size, padded = (kernel if remembered is None else remembered) + workload.tokens, 0
        return self.convolve(
            name,
            channels,
            kernel,
            inputs=channels,
            size=size,
            padded=padded,
            groups=channels,
            bias=bias,
            split="channels",
        )

    def scan(
        self,
        name: str,
        *others: Tensor,
        width: Number,
        read: Number,
        flops: Number,
        keeps: tuple[Tensor, ...],
        state: Number = 0,
        **fields: Any,
    ) -> Tensor:
        """Carry a `state` of so many values along each sequence; only generation moves it."""
        carried = self.workload.batch * state if self.workload.generates else 0
        return self.make(
            Recurrence,
            name,
            width,
            *others,
            rows=self.rows,
            read=read,
            written=width,
            flops=flops,
            state=carried,
            holds=tuple(Held(tensor.name, tensor.width) for tensor in keeps),
            **fields,
        )

    def channel_norm(
        self,
        name: str,
        positions: Number | None = None,
        kind: Literal["batch", "group"] = "batch",
        groups: Number = 1,
    ) -> Tensor:
        """Normalize channels by the statistics of the batch, or of groups of them."""
        workload = self.workload
        return self.make(
            ChannelNorm,
            name,
            self.width,
            source=self.name,
            batch=workload.batch,
            positions=workload.tokens if positions is None else positions,
            channels=self.width,
            kind=kind,
            groups=groups,
        )

    def look_up(
        self,
        name: str,
        entries: Number,
        width: Number,
        *,
        rows: Number | None = None,
        vocabulary: bool = True,
        looked_up: Number | None = None,
    ) -> Tensor:
        """Pick a row of a table of `entries` for each of `rows`."""
        rows = self.rows if rows is None else rows
        return self.make(
            Embedding,
            name,
            width,
            made_rows=rows,
            rows=rows,
            entries=entries,
            width=width,
            vocabulary=vocabulary,
            looked_up=looked_up,
        )

    def learned(
        self,
        name: str,
        *shapes: tuple[Number, ...],
        elements: Number | None = None,
        scales: bool = False,
        lookup: bool = False,
    ) -> Tensor:
        """Add learned tensors to every value (or to `elements` of them), or multiply with them."""
        return self.make(
            Learned,
            name,
            self.width,
            shapes=shapes,
            elements=self.rows * self.width if elements is None else elements,
            multiplies=self.name if scales else None,
            lookup=lookup,
        )

    def loss(self, *, capped: bool = False) -> Tensor:
        """Compare logits, perhaps `capped` ones, with what should come."""
        return self.make(
            CrossEntropy,
            "loss",
            1,
            source=self.name,
            rows=self.rows,
            classes=self.width,
            capped=capped,
        )

    def residual(
        self, name: str, stream: Tensor, *, dropout: bool = False, source: Storage = "compute"
    ) -> Tensor:
        """Add this to `stream`, perhaps dropping some of it."""
        return self.make(
            Residual,
            name,
            self.width,
            stream,
            rows=self.rows,
            width=self.width,
            dropout=dropout,
            source=source,
        )


class Part(Protocol):
    """What can be recorded: a layer, or what stands between two additions to its stream."""

    def build(self, x: Tensor) -> Tensor:
        """Record its operators, from `x` to the tensor that is returned."""
        ...


def started(workload: Workload, width: Number, name: str = INPUT) -> Tensor:
    """Return what enters a layer, with nothing recorded yet."""
    return Tensor(Recorder(workload), name, workload.rows, width)


LayerT = TypeVar("LayerT", bound=Part)

Layers: TypeAlias = tuple[tuple[Part, Number], ...]
"""Runs of layers from bottom to top: (layer, how many)."""


def in_runs(layers: Iterable[LayerT]) -> tuple[tuple[LayerT, int], ...]:
    """Return equal neighbours as one run, and equal runs as the same object, which is fast."""
    same: dict[LayerT, LayerT] = {}
    runs = [(layer, sum(1 for _ in run)) for layer, run in groupby(layers)]
    return tuple((same.setdefault(layer, layer), count) for layer, count in runs)


def unrolled(
    layers: Layers, workload: Workload, width: Number
) -> Generator[tuple[int, tuple[Operator, ...]]]:
    """Yield the operators of a layer of each run, with the run's number; equal layers once."""
    same: dict[int, tuple[Operator, ...]] = {}
    made: dict[Part, tuple[Operator, ...]] = {}
    for index, (layer, _) in enumerate(layers):
        operators = same.get(id(layer))
        if operators is None:
            operators = made.get(layer) if made else None
            if operators is None:
                operators = recorded(layer, workload, width)
                if len(layers) > 1:
                    made[layer] = operators
            same[id(layer)] = operators
        yield index, operators


def recorded(part: Part, workload: Workload, width: Number) -> tuple[Operator, ...]:
    """Return the operators of a layer whose stream is of `width`."""
    x = started(workload, width)
    part.build(x)
    return tuple(x.recorder.operators)
