"""A residual layer: a token mixer and a feed-forward network with their norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Part, Tensor
from costsim.architectures.tensors import CacheTensor


class SubLayer(Part, Protocol):
    """Whatever stands between two additions to the residual stream."""


class Mixer(SubLayer, Protocol):
    """A sub-layer that mixes positions and so keeps something of them while generating."""

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what is kept after `tokens` positions of `batch` sequences."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """norm → mixer → add → norm → feed-forward → add; or both from one place, in parallel.

    `parallel` layers (GPT-NeoX, Falcon, PaLM) feed mixer and network from the same stream;
    `shared_norm` ones from the same norm. `post_norm` layers (OPT-350M) normalize after adding.
    Either sub-layer may do without the norm before it (`bare_…`: OLMo 2), or have one of its output
    before that is added (`…_output_norm`: Gemma 2). `after` are sub-layers that follow, with a norm
    of their output only (Gemma 4's input of each layer).
    """

    mixer: Mixer
    feed_forward: SubLayer
    norm: NormStyle
    parallel: bool = False
    shared_norm: bool = False
    post_norm: bool = False
    bare_mixer: bool = False
    bare_feed_forward: bool = False
    mixer_output_norm: bool = False
    feed_forward_output_norm: bool = False
    after: tuple[SubLayer, ...] = ()
    dropout: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record one layer."""
        post, norm, dropout = self.post_norm, self.norm, self.dropout
        bare = post or self.bare_mixer
        source = x if bare else x.norm("mixer_norm", norm)
        output = norm if self.mixer_output_norm and not post else None
        mixed = added("mixer", self.mixer.build(source), x, output, dropout)
        if post:
            mixed = mixed.norm("mixer_norm", norm)
        stream = x if self.parallel and not post else mixed
        if post or not (self.parallel and self.shared_norm):
            bare = post or self.bare_feed_forward
            source = stream if bare else stream.norm("feed_forward_norm", norm)
        output = norm if self.feed_forward_output_norm and not post else None
        fed = added("feed_forward", self.feed_forward.build(source), mixed, output, dropout)
        if post:
            return fed.norm("feed_forward_norm", norm)
        for index, extra in enumerate(self.after):
            fed = added(f"after.{index}", extra.build(fed), fed, norm, dropout)
        return fed

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what one layer keeps after `tokens` positions of `batch` sequences."""
        return self.mixer.cache(batch, tokens)


def added(
    name: str, output: Tensor, stream: Tensor, norm: NormStyle | None, dropout: bool
) -> Tensor:
    """Add what a sub-layer gave to the stream, normalized first where there is a `norm`."""
    output = output.within("")
    if norm is not None:
        output = output.norm(f"{name}_output_norm", norm)
    return output.residual(f"{name}_residual", stream, dropout=dropout)
