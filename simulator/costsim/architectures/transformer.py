"""The decoder-only transformer: token embedding, a stack of layers, a head over the vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from costsim.algebra import Number
from costsim.architectures.block import Block
from costsim.architectures.layers import NormStyle, SubLayer
from costsim.architectures.layers.recording import Part, started, unrolled
from costsim.architectures.operators import Operator
from costsim.architectures.scores import Scores
from costsim.architectures.stacks import dropped, scored
from costsim.architectures.tensors import Activation, CacheTensor
from costsim.architectures.workload import Workload


class DecoderLayer(Part, Protocol):
    """One layer of a decoder: equal ones work alike, so they must be comparable and hashable."""

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what one layer keeps after `tokens` positions of `batch` sequences."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer:
    """A decoder as composed; `layers` are runs (layer, how many) from bottom to top.

    `positions` counts learned position embeddings (0 for rotary or ALiBi). `embedding_width` is
    that of a narrower embedding that is projected to `hidden` and back (OPT-350M). `beside` is made
    of the tokens beside their embedding, for all layers; `before_head` stands before the logits,
    `scores` in the place of those of the vocabulary, whose embedding has `spare` rows more. Logits
    are `capped` by a tanh (Gemma 2).
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
    spare: Number = 0
    capped: bool = False
    dropout: bool = False
    context_limit: Number | None = None  # longest sequence the model is made for

    @property
    def depth(self) -> Number:
        return sum(count for _, count in self.layers)

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return stem, layers and head as they work on `workload`."""
        entry = Activation("input", workload.rows * self.hidden)
        blocks = [Block("embedding", self._stem(workload), entry, part="stem")]
        for index, operators in unrolled(self.layers, workload, self.hidden):
            name = "layers" if len(self.layers) == 1 else f"layers.{index}"
            blocks.append(Block(name, operators, entry, self.layers[index][1]))
        blocks.append(Block("head", self._head(workload), entry, part="head"))
        return tuple(blocks)

    def cache(self, batch: Number, tokens: Number) -> tuple[tuple[CacheTensor, Number], ...]:
        """Return each cached tensor of one layer with how many layers hold one like it."""
        return tuple(
            (tensor, count) for layer, count in self.layers for tensor in layer.cache(batch, tokens)
        )

    def _stem(self, workload: Workload) -> tuple[Operator, ...]:
        hidden = self.hidden
        x = started(workload, hidden)
        width = hidden if self.embedding_width is None else self.embedding_width
        at = x.within("embedding")
        tokens = stream = at.look_up("tokens", self.vocabulary + self.spare, width)
        if self.embedding_width is not None:
            stream = tokens.linear("project", hidden)
        if self.beside is not None:
            self.beside.build(tokens.called_as(tokens.name, hidden))
        if self.positions:
            stream = at.look_up(
                "positions", self.positions, hidden, vocabulary=False, looked_up=workload.tokens
            )
        if self.embedding_norm is not None:
            stream = stream.called("").norm("norm", self.embedding_norm)
        if self.dropout:
            dropped(stream, hidden)
        return tuple(x.recorder.operators)

    def _head(self, workload: Workload) -> tuple[Operator, ...]:
        entry = started(workload, self.hidden)
        x = entry.within("head")
        if self.final_norm is not None:
            x = x.norm("norm", self.final_norm)
        if self.before_head is not None:
            x = self.before_head.build(x).within("head")
        if self.embedding_width is not None:
            x = x.linear("project", self.embedding_width)
        if self.scores is not None:
            self.scores.build(x)
        else:
            tied_to = "embedding.tokens.weight" if self.tied else None
            scored(x, self.vocabulary, bias=self.head_bias, tied_to=tied_to, capped=self.capped)
        return tuple(entry.recorder.operators)
