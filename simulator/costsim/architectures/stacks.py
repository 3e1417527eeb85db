"""Stacks: what turns an input into a stream, layers over it, and what is made of the result.

Encoders, encoder-decoders and models of several inputs are composed of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from costsim.algebra import Number
from costsim.architectures.block import Block
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import (
    INPUT,
    Part,
    Recorder,
    Tensor,
    started,
    unrolled,
)
from costsim.architectures.layers.tables import Table
from costsim.architectures.operators.wrapping import Reused
from costsim.architectures.tensors import Activation
from costsim.architectures.workload import Workload


class StackLayer(Part, Protocol):
    """One layer of a stack."""


class Stem(Part, Protocol):
    """What turns an input into a stream; it is recorded within the name of its stack."""

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

    def build(self, x: Tensor) -> Tensor:
        """Record look-ups, norm, projection and dropout."""
        hidden = x.width
        width = hidden if self.embedding_width is None else self.embedding_width
        projected = self.embedding_width is not None if self.projected is None else self.projected
        found = embedded(x, "embedding").called("", width)
        token_width = width if self.token_width is None else self.token_width
        if self.tied_to is None:
            tokens = found.look_up("tokens", self.vocabulary, token_width)
        else:
            with x.recorder.wrapped(Reused.around):
                tokens = found.within("").look_up(self.tied_to, self.vocabulary, token_width)
        for table in self.tables:
            table.build(found)
        found = found.made_by(tokens)
        if self.norm is not None and not self.norm_last:
            found = found.norm("norm", self.norm)
        if projected:
            found = found.linear("project", hidden, bias=self.projection_bias)
        if self.norm is not None and self.norm_last:
            found = found.norm("norm", self.norm, width=hidden)
        return dropped(found, hidden) if self.dropout else found


def embedded(x: Tensor, name: str) -> Tensor:
    """Return `x` within the part of its scope that is called `name`."""
    return x.within(f"{x.scope}.{name}" if x.scope else name)


def dropped(x: Tensor, hidden: Number) -> Tensor:
    """Record the dropout of an embedding."""
    return x.called("", hidden).residual("dropout", x, dropout=True, source="weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """What a head does before it scores the vocabulary: dense, activation, norm."""

    outputs: Number
    bias: bool = True
    dense: bool = True
    activation: str = "gelu"
    norm: NormStyle | None = None

    def build(self, x: Tensor) -> Tensor:
        """Record what turns `x` into what is scored."""
        if self.dense:
            x = x.linear("transform", self.outputs, bias=self.bias, use="head")
        x = x.called_as(x.name, self.outputs).elementwise("activation", function=self.activation)
        return x if self.norm is None else x.norm("transform_norm", self.norm)


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

    def build(self, x: Tensor) -> Tensor:
        """Record norm, transform, logits and loss."""
        x = x.within("head")
        if self.norm is not None:
            x = x.norm("norm", self.norm)
        if self.transform is not None:
            x = self.transform.build(x)
        if self.rank is not None:
            x = x.linear("project", self.rank, tied_to=self.rank_tied_to, use="head")
        return scored(x, self.vocabulary, bias=self.bias, tied_to=self.tied_to)


def scored(
    x: Tensor, vocabulary: Number, *, bias: bool, tied_to: str | None, capped: bool = False
) -> Tensor:
    """Record the scores of a vocabulary, perhaps `capped` by a tanh, and their loss."""
    logits = x.linear("logits", vocabulary, bias=bias, split="column", tied_to=tied_to, use="head")
    return logits.loss(capped=capped)


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
        entry = Activation(INPUT, inside.rows * self.hidden)
        entering = Tensor(Recorder(workload), f"{prefix}{INPUT}", inside.rows, self.hidden, name)
        self.stem.build(entering)
        stem = tuple(entering.recorder.operators)
        blocks = [Block(f"{prefix}embedding", stem, entry, part="stem")]
        for index, operators in unrolled(self.layers, inside, self.hidden):
            count = self.layers[index][1]
            own = f"{prefix}layers" if len(self.layers) == 1 else f"{prefix}layers.{index}"
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
        entry = Activation(INPUT, inside.rows * self.hidden)
        x = started(inside, self.hidden)
        x.within(name).norm("norm", self.norm)
        return Block(f"{name}.norm", tuple(x.recorder.operators), entry, part=part)
