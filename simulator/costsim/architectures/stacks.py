"""Stacks: what turns an input into a stream, layers over it, and what is made of the result.

Encoders, encoder-decoders and models of several inputs are composed of these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

from costsim.algebra import Number
from costsim.architectures.block import Block
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.tables import Table
from costsim.architectures.operators import (
    CrossEntropy,
    Elementwise,
    Embedding,
    Held,
    Linear,
    Operator,
    Residual,
)
from costsim.architectures.operators.wrapping import Reused
from costsim.architectures.tensors import Activation
from costsim.architectures.workload import Workload


class StackLayer(Protocol):
    """One layer of a stack."""

    def operators(self, workload: Workload, hidden: Number) -> tuple[Operator, ...]:
        """Return the operators of one layer; its input is called `input`."""
        ...


class Stem(Protocol):
    """What turns an input into a stream of `hidden` wide vectors."""

    def operators(
        self, workload: Workload, hidden: Number, prefix: str = ""
    ) -> tuple[Operator, ...]:
        """Return its operators; names begin with `prefix`."""
        ...

    def inside(self, workload: Workload) -> Workload:
        """Return what passes through the layers where `workload` enters the stem."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStem:
    """Token ids: embeddings, the tables added to them, a norm, a projection to the stream's width.

    `embedding_width` is that of narrower embeddings, or of several side by side, of which the
    tokens' are `token_width` wide. `tied_to` names the table of tokens where it
    is another's; `projected` tells a projection where widths are equal. The norm comes `norm_last`
    where it follows the projection.
    """

    vocabulary: Number
    embedding_width: Number | None = None
    token_width: Number | None = None
    tables: tuple[Table, ...] = ()
    norm: NormStyle | None = None
    norm_last: bool = False
    projected: bool | None = None
    projection_bias: bool = True
    tied_to: str | None = None
    dropout: bool = False

    def inside(self, workload: Workload) -> Workload:
        """Return `workload`: a position a token."""
        return workload

    def operators(
        self, workload: Workload, hidden: Number, prefix: str = ""
    ) -> tuple[Operator, ...]:
        """Return look-ups, norm, projection and dropout."""
        rows, width = workload.rows, self.embedding_width
        width = hidden if width is None else width
        projected = self.embedding_width is not None if self.projected is None else self.projected
        name = f"{prefix}embedding"
        tokens: Operator = Embedding(
            name=f"{name}.tokens" if self.tied_to is None else self.tied_to,
            rows=rows,
            entries=self.vocabulary,
            width=width if self.token_width is None else self.token_width,
        )
        found: list[Operator] = [tokens if self.tied_to is None else Reused.around(tokens)]
        for table in self.tables:
            found.extend(table.operators(name, workload, width))
        source, wide = name, hidden if self.norm_last else width
        project = Linear.of(f"{name}.project", name, rows, width, hidden, bias=self.projection_bias)
        if self.norm_last and projected:
            found.append(project)
            source = project.name
        if self.norm is not None:
            found.append(self.norm.operator(f"{name}.norm", source, rows, wide))
            source = f"{name}.norm"
        if projected and not self.norm_last:
            found.append(replace(project, source=source))
        if self.dropout:
            found.append(
                Residual(
                    name=f"{name}.dropout", rows=rows, width=hidden, dropout=True, source="weight"
                )
            )
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """What a head does before it scores the vocabulary: dense, activation, norm."""

    outputs: Number
    bias: bool = True
    dense: bool = True
    activation: str = "gelu"
    norm: NormStyle | None = None

    def operators(
        self, rows: Number, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into what is scored, and its name."""
        found: list[Operator] = []
        if self.dense:
            found.append(
                Linear.of(
                    "head.transform", source, rows, hidden, self.outputs, bias=self.bias, use="head"
                )
            )
            source = "head.transform"
        found.append(
            Elementwise(
                name="head.activation",
                rows=rows,
                read=self.outputs,
                written=self.outputs,
                holds=(Held(source, self.outputs),),
                function=self.activation,
            )
        )
        source = "head.activation"
        if self.norm is not None:
            found.append(self.norm.operator("head.transform_norm", source, rows, self.outputs))
            source = "head.transform_norm"
        return tuple(found), source


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Scores of the vocabulary at every position, after an optional norm and transform.

    `rank` is the width of a projection before the scores; `tied_to` names the table that it scores
    with, `rank_tied_to` the matrix that it projects with.
    """

    vocabulary: Number
    norm: NormStyle | None = None
    transform: Transform | None = None
    rank: Number | None = None
    bias: bool = False
    tied_to: str | None = None
    rank_tied_to: str | None = None

    def operators(self, workload: Workload, hidden: Number) -> tuple[Operator, ...]:
        """Return norm, transform, logits and loss."""
        rows, source, width = workload.rows, "input", hidden
        found: list[Operator] = []
        if self.norm is not None:
            found.append(self.norm.operator("head.norm", source, rows, hidden))
            source = "head.norm"
        if self.transform is not None:
            inner, source = self.transform.operators(rows, hidden, source)
            found.extend(inner)
            width = self.transform.outputs
        if self.rank is not None:
            found.append(
                Linear.of(
                    "head.project",
                    source,
                    rows,
                    width,
                    self.rank,
                    tied_to=self.rank_tied_to,
                    use="head",
                )
            )
            source, width = "head.project", self.rank
        found.append(
            Linear.of(
                "head.logits",
                source,
                rows,
                width,
                self.vocabulary,
                bias=self.bias,
                split="column",
                tied_to=self.tied_to,
                use="head",
            )
        )
        found.append(
            CrossEntropy(name="head.loss", source="head.logits", rows=rows, classes=self.vocabulary)
        )
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stem and layers over it; `layers` are runs (layer, how many) from bottom to top.

    Each layer is applied `repeats` times with the same weights. `norm` ends the stack.
    """

    hidden: Number
    stem: Stem
    layers: tuple[tuple[StackLayer, Number], ...]
    norm: NormStyle | None = None
    repeats: Number = 1

    def blocks(self, workload: Workload, name: str = "") -> tuple[Block, ...]:
        """Return its blocks, called after `name`, as they work on `workload`."""
        prefix = f"{name}." if name else ""
        inside = self.stem.inside(workload)
        entry = Activation("input", inside.rows * self.hidden)
        stem = self.stem.operators(workload, self.hidden, prefix)
        blocks = [Block(f"{prefix}embedding", stem, entry, part="stem")]
        made: dict[StackLayer, tuple[Operator, ...]] = {}
        for index, (layer, count) in enumerate(self.layers):
            own = f"{prefix}layers" if len(self.layers) == 1 else f"{prefix}layers.{index}"
            if layer not in made:
                made[layer] = layer.operators(inside, self.hidden)
            operators = made[layer]
            blocks.append(Block(own, operators, entry, count))
            if type(self.repeats) is not int or self.repeats > 1:
                again = tuple(Reused.around(operator) for operator in operators)
                blocks.append(Block(f"{own}.again", again, entry, count * (self.repeats - 1)))
        return tuple(blocks)

    def closing(self, workload: Workload, name: str, part: Literal["stem", "head"]) -> Block | None:
        """Return the norm that ends the stack, as a block of its own."""
        if self.norm is None:
            return None
        inside = self.stem.inside(workload)
        entry = Activation("input", inside.rows * self.hidden)
        norm = self.norm.operator(f"{name}.norm", "input", inside.rows, self.hidden)
        return Block(f"{name}.norm", (norm,), entry, part=part)
