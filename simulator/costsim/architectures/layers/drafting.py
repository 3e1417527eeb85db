"""Layers of drafts: small models that guess what a larger one, their target, will say.

EAGLE-3 (Li et al. 2025, arXiv 2503.01840) reads hidden states of three of the target's layers
beside each token's embedding. DFlash fills a block of tokens at once from such states; Domino and
DSpark add what makes its guesses depend on one another.
"""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.feed_forward import FeedForward
from costsim.architectures.layers.layer import added
from costsim.architectures.layers.norm import RMS
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.layers.self_attention import SelfAttention
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStates:
    """Hidden states of `count` of the target's layers, `width` wide, projected to the draft's.

    `norms` are one before each; `norm` is one of the result.
    """

    width: Number
    count: Number
    norms: bool = False
    norm: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record the projection."""
        at = x.within("target")
        states = at.beside("target.states", x.rows, self.count * self.width)
        if self.norms:
            states = states.norm("norms", RMS, width=self.width, groups=self.count, unshared=True)
        made = states.linear("project", x.width)
        return made.norm("norm", RMS) if self.norm else made

    def inside(self, workload: Workload) -> Workload:
        """Return `workload`: a position a token."""
        return workload


@dataclass(frozen=True, slots=True, kw_only=True)
class EagleLayer:
    """A layer whose attention reads the stream and the token's embedding side by side."""

    mixer: SelfAttention
    feed_forward: FeedForward

    def build(self, x: Tensor) -> Tensor:
        """Record one layer."""
        x.norm("mixer_norm", RMS)
        token = x.beside("embedding.tokens", x.rows, x.width).norm("token_norm", RMS)
        both = token.beside("joined", x.rows, 2 * x.width)
        context = self.mixer.attended(both)
        output = context.linear("output", x.width, bias=self.mixer.output_bias, split="row")
        stream = added("mixer", output, x, None, False)
        fed = self.feed_forward.build(stream.norm("feed_forward_norm", RMS))
        return added("feed_forward", fed, stream, None, False)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return keys and values."""
        return self.mixer.cache(batch, tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What corrects the target's scores of a block, so that guesses depend on one another.

    Domino: a gated recurrent unit of `recurrent` values over tokens before, joined with the stream,
    through `rank` to the vocabulary. DSpark: a table of `rank` values for each token before, and
    the scores of those; a `confidence` of each guess, of stream and table if `joined`.
    """

    vocabulary: Number
    rank: Number = 0
    recurrent: Number = 0
    confidence: bool = False
    joined: bool = True

    def build(self, x: Tensor) -> Tensor:
        """Record the correction."""
        at, rows = x.within("draft"), x.rows
        if self.recurrent:
            unit = at.beside("draft.tokens", rows, x.width).linear("unit", 3 * self.recurrent)
            state = unit.beside("draft.state", rows, self.recurrent)
            state.linear("unit_state", 3 * self.recurrent)
            both = unit.beside("draft.joined", rows, x.width + self.recurrent)
            inner = both.linear("down", self.rank).elementwise("activation", function="silu")
            return inner.linear("scores", self.vocabulary, use="head")
        if self.rank:
            before = at.look_up("before", self.vocabulary, self.rank)
            at = before.linear("scores", self.vocabulary, use="head")
        if self.confidence:
            width = x.width + (self.rank if self.joined else 0)
            at = at.beside("draft.joined", rows, width).linear("confidence", 1, bias=True)
        return at
