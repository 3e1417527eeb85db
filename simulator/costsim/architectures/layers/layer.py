"""A residual layer: a token mixer and a feed-forward network with their norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from costsim.algebra import Number
from costsim.architectures.operators import Norm, Operator, Residual
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
class NormStyle:
    """Which normalization a model uses, and which parameters it has."""

    kind: Literal["layer", "rms"] = "layer"
    weight: bool = True
    bias: bool = True

    def operator(self, name: str, source: str, rows: Number, width: Number) -> Norm:
        """Return the norm of `source`."""
        return Norm(
            name=name,
            source=source,
            rows=rows,
            width=width,
            kind=self.kind,
            weight=self.weight,
            bias=self.bias and self.kind == "layer",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """norm → mixer → add → norm → feed-forward → add; or both from one place, in parallel.

    `parallel` layers (GPT-NeoX, Falcon, PaLM) feed mixer and network from the same stream;
    `shared_norm` ones from the same norm. `post_norm` layers (OPT-350M) normalize after adding.
    """

    mixer: Mixer
    feed_forward: SubLayer
    norm: NormStyle
    parallel: bool = False
    shared_norm: bool = False
    post_norm: bool = False
    dropout: bool = False

    def operators(self, workload: Workload, hidden: Number) -> tuple[Operator, ...]:
        """Return the operators of one layer; its input is called `input`."""
        if self.post_norm:
            return self._post_norm_operators(workload, hidden)
        rows = workload.rows
        found: list[Operator] = [self.norm.operator("mixer_norm", "input", rows, hidden)]
        mixed, _ = self.mixer.operators(workload, hidden, "mixer_norm")
        found.extend(mixed)
        found.append(self._add("mixer_residual", rows, hidden))
        stream, source = ("input" if self.parallel else "mixer_residual"), "mixer_norm"
        if not self.shared_norm:
            source = "feed_forward_norm"
            found.append(self.norm.operator(source, stream, rows, hidden))
        fed, _ = self.feed_forward.operators(workload, hidden, source)
        found.extend(fed)
        found.append(self._add("feed_forward_residual", rows, hidden))
        return tuple(found)

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
