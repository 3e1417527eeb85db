"""Alternating updates (AltUp) and LAuReL, around a layer of Gemma 3n.

The residual stream is several wide; a layer works on one stream and predicts, then corrects, the
others by small matrices made of it (Baykal et al. 2023, arXiv 2301.13310). LAuReL adds a low-rank
path beside the mixer (Menghani et al. 2024, arXiv 2411.07501).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number
from costsim.architectures.layers.layer import Layer
from costsim.architectures.layers.norm import RMS
from costsim.architectures.layers.recording import Part, Tensor
from costsim.architectures.operators import Operator
from costsim.architectures.operators.wrapping import Reused
from costsim.architectures.tensors import Activation, CacheTensor
from costsim.architectures.work import Direction, Gemm, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMixing(Operator):
    """At each position, `streams` vectors of `hidden` values times a matrix of that position."""

    rows: Number
    hidden: Number
    streams: Number

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        streams = self.streams
        product = Gemm(self.hidden, streams, streams, self.rows, weights=False)
        if direction == "forward":
            return (product,)
        return (product, Gemm(streams, streams, self.hidden, self.rows, weights=False))

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        return (
            Activation("input", self.rows * self.streams * self.hidden),
            Activation(f"{self.name}.matrix", self.rows * self.streams * self.streams),
        )

    def shard(self, shard: Shard) -> StreamMixing:
        return replace(self, rows=shard.rows(self.rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlternatingLayer:
    """`layer` on one of `streams`, with a path of `rank` beside its mixer."""

    layer: Layer
    streams: Number
    rank: Number

    def build(self, x: Tensor) -> Tensor:
        """Record one layer."""
        hidden, streams = x.width, self.streams
        wide = streams * hidden
        at = x.within("streams")
        router = at.norm("norm", RMS).linear("router", streams, use="router")
        matrix = router.linear("prediction", streams * streams, use="router")
        mixed = matrix.make(
            StreamMixing, "mixed", wide, at, rows=x.rows, hidden=hidden, streams=streams
        )
        low = x.beside("mixer_norm", x.rows, hidden).within("laurel").linear("left", self.rank)
        low.linear("right", hidden).norm("norm", RMS)
        active = self.layer.build(x).within("streams")
        with x.recorder.wrapped(Reused.around):
            again = active.norm("norm_again", RMS).linear("router_again", streams, use="router")
        correction = again.linear("correction", streams, use="router")
        corrected = correction.elementwise(
            "corrected", active, mixed, read=wide + hidden, width=wide, keeps=(active, mixed)
        )
        return corrected.learned("scale", (hidden,), elements=x.rows * hidden)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what the mixer keeps."""
        return self.layer.cache(batch, tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamProjections:
    """The embedding projected to the other streams, after what stands beside it; or all back."""

    streams: int
    name: str
    beside: Part | None = None

    def build(self, x: Tensor) -> Tensor:
        """Record the projections, and return what they read."""
        if self.beside is not None:
            self.beside.build(x)
        for stream in range(1, self.streams):
            x.within(self.name).linear(f"{stream}", x.width)
        return x
