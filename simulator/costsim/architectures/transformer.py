"""The decoder-only transformer: token embedding, a stack of layers, a head over the vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from costsim.algebra import Number
from costsim.architectures.block import Block
from costsim.architectures.layers import NormStyle, SubLayer
from costsim.architectures.operators import (
    CrossEntropy,
    Embedding,
    Linear,
    Operator,
    Residual,
)
from costsim.architectures.scores import Scores
from costsim.architectures.tensors import Activation, CacheTensor
from costsim.architectures.workload import Workload


class DecoderLayer(Protocol):
    """One layer of a decoder: equal ones work alike, so they must be comparable and hashable."""

    def operators(self, workload: Workload, hidden: Number) -> tuple[Operator, ...]:
        """Return the operators of one layer; its input is called `input`."""
        ...

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what one layer keeps after `tokens` positions of `batch` sequences."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer:
    """A decoder as composed; `layers` are runs (layer, how many) from bottom to top.

    `positions` counts learned position embeddings (0 for rotary or ALiBi). `embedding_width` is
    that of a narrower embedding that is projected to `hidden` and back (OPT-350M). `beside` is made
    of the tokens beside their embedding, for all layers; `before_head` stands before the logits,
    `scores` in the place of those of the vocabulary.
    """

    vocabulary: Number
    hidden: Number
    layers: tuple[tuple[DecoderLayer, Number], ...]
    positions: Number = 0
    embedding_width: Number | None = None
    embedding_norm: NormStyle | None = None
    final_norm: NormStyle | None = None
    beside: SubLayer | None = None
    before_head: SubLayer | None = None
    tied: bool = False
    head_bias: bool = False
    scores: Scores | None = None
    dropout: bool = False
    context_limit: Number | None = None  # longest sequence the model is made for

    @property
    def depth(self) -> Number:
        return sum(count for _, count in self.layers)

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return stem, layers and head as they work on `workload`."""
        entry = Activation("input", workload.rows * self.hidden)
        made: dict[DecoderLayer, tuple[Operator, ...]] = {}
        blocks = [Block("embedding", self._stem(workload), entry, part="stem")]
        for index, (layer, count) in enumerate(self.layers):
            if layer not in made:
                made[layer] = layer.operators(workload, self.hidden)
            name = "layers" if len(self.layers) == 1 else f"layers.{index}"
            blocks.append(Block(name, made[layer], entry, count))
        blocks.append(Block("head", self._head(workload), entry, part="head"))
        return tuple(blocks)

    def cache(self, batch: Number, tokens: Number) -> tuple[tuple[CacheTensor, Number], ...]:
        """Return each cached tensor of one layer with how many layers hold one like it."""
        return tuple(
            (tensor, count) for layer, count in self.layers for tensor in layer.cache(batch, tokens)
        )

    def _stem(self, workload: Workload) -> tuple[Operator, ...]:
        rows, hidden = workload.rows, self.hidden
        width = hidden if self.embedding_width is None else self.embedding_width
        found: list[Operator] = [
            Embedding(name="embedding.tokens", rows=rows, entries=self.vocabulary, width=width)
        ]
        if self.embedding_width is not None:
            found.append(Linear.of("embedding.project", "embedding.tokens", rows, width, hidden))
        if self.beside is not None:
            found.extend(self.beside.operators(workload, hidden, "embedding.tokens")[0])
        if self.positions:
            found.append(
                Embedding(
                    name="embedding.positions",
                    rows=rows,
                    entries=self.positions,
                    width=hidden,
                    vocabulary=False,
                    looked_up=workload.tokens,
                )
            )
        if self.embedding_norm is not None:
            found.append(self.embedding_norm.operator("embedding.norm", "embedding", rows, hidden))
        if self.dropout:
            found.append(
                Residual(
                    name="embedding.dropout", rows=rows, width=hidden, dropout=True, source="weight"
                )
            )
        return tuple(found)

    def _head(self, workload: Workload) -> tuple[Operator, ...]:
        rows, hidden = workload.rows, self.hidden
        found: list[Operator] = []
        source, width = "input", hidden
        if self.final_norm is not None:
            found.append(self.final_norm.operator("head.norm", source, rows, hidden))
            source = "head.norm"
        if self.before_head is not None:
            operators, source = self.before_head.operators(workload, hidden, source)
            found.extend(operators)
        if self.embedding_width is not None:
            width = self.embedding_width
            found.append(Linear.of("head.project", source, rows, hidden, width))
            source = "head.project"
        if self.scores is not None:
            return (*found, *self.scores.operators(workload, width, source))
        found.append(
            Linear.of(
                "head.logits",
                source,
                rows,
                width,
                self.vocabulary,
                bias=self.head_bias,
                split="column",
                tied_to="embedding.tokens.weight" if self.tied else None,
                use="head",
            )
        )
        found.append(
            CrossEntropy(name="head.loss", source="head.logits", rows=rows, classes=self.vocabulary)
        )
        return tuple(found)
