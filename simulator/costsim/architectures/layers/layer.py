"""A residual layer: a token mixer and a feed-forward network with their norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.operators import Operator, Residual
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


class SubLayer(Protocol):
    """Whatever stands between two additions to the residual stream."""

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into an output, and the output's name."""
        ...


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

    def operators(self, workload: Workload, hidden: Number) -> tuple[Operator, ...]:
        """Return the operators of one layer; its input is called `input`."""
        if self.post_norm:
            return self._post_norm_operators(workload, hidden)
        rows = workload.rows
        found: list[Operator] = []
        source = "input"
        if not self.bare_mixer:
            source = "mixer_norm"
            found.append(self.norm.operator(source, "input", rows, hidden))
        mixed, output = self.mixer.operators(workload, hidden, source)
        found.extend(mixed)
        found.extend(self._output("mixer", output, self.mixer_output_norm, rows, hidden))
        stream = "input" if self.parallel else "mixer_residual"
        if not (self.parallel and self.shared_norm):
            source = stream
            if not self.bare_feed_forward:
                source = "feed_forward_norm"
                found.append(self.norm.operator(source, stream, rows, hidden))
        fed, output = self.feed_forward.operators(workload, hidden, source)
        found.extend(fed)
        found.extend(
            self._output("feed_forward", output, self.feed_forward_output_norm, rows, hidden)
        )
        for index, extra in enumerate(self.after):
            more, output = extra.operators(workload, hidden, "feed_forward_residual")
            found.extend(more)
            found.extend(self._output(f"after.{index}", output, True, rows, hidden))
        return tuple(found)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what one layer keeps after `tokens` positions of `batch` sequences."""
        return self.mixer.cache(batch, tokens)

    def _output(
        self, name: str, output: str, normalized: bool, rows: Number, hidden: Number
    ) -> tuple[Operator, ...]:
        added = self._add(f"{name}_residual", rows, hidden)
        if not normalized:
            return (added,)
        return (self.norm.operator(f"{name}_output_norm", output, rows, hidden), added)

    def _post_norm_operators(self, workload: Workload, hidden: Number) -> tuple[Operator, ...]:
        found: list[Operator] = []
        source = "input"
        for name, sub_layer in (("mixer", self.mixer), ("feed_forward", self.feed_forward)):
            found.extend(sub_layer.operators(workload, hidden, source)[0])
            found.append(self._add(f"{name}_residual", workload.rows, hidden))
            source = f"{name}_norm"
            norm = self.norm.operator(source, f"{name}_residual", workload.rows, hidden)
            found.append(norm)
        return tuple(found)

    def _add(self, name: str, rows: Number, hidden: Number) -> Residual:
        return Residual(name=name, rows=rows, width=hidden, dropout=self.dropout)
