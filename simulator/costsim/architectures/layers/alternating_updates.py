"""Alternating updates (AltUp) and LAuReL, around a layer of Gemma 3n.

The residual stream is several wide; a layer works on one stream and predicts, then corrects, the
others by small matrices made of it (Baykal et al. 2023, arXiv 2301.13310). LAuReL adds a low-rank
path beside the mixer (Menghani et al. 2024, arXiv 2411.07501).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number
from costsim.architectures.layers.layer import Layer, SubLayer
from costsim.architectures.layers.norm import RMS
from costsim.architectures.operators import Elementwise, Held, Learned, Linear, Operator
from costsim.architectures.operators.wrapping import Reused
from costsim.architectures.tensors import Activation, CacheTensor
from costsim.architectures.work import Direction, Gemm, Work
from costsim.architectures.workload import FUSED, Execution, Shard, Workload


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

    def operators(self, workload: Workload, hidden: Number) -> tuple[Operator, ...]:
        """Return the operators of one layer; its input is called `input`."""
        rows, streams, rank = workload.rows, self.streams, self.rank
        square = streams * streams
        norm = RMS.operator("streams.norm", "input", rows, hidden)
        router = Linear.of("streams.router", norm.name, rows, hidden, streams, use="router")
        predicted = (
            norm,
            router,
            Linear.of("streams.prediction", router.name, rows, streams, square, use="router"),
            StreamMixing(name="streams.mixed", rows=rows, hidden=hidden, streams=streams),
        )
        low = (
            Linear.of("laurel.left", "mixer_norm", rows, hidden, rank),
            Linear.of("laurel.right", "laurel.left", rows, rank, hidden),
            RMS.operator("laurel.norm", "laurel.right", rows, hidden),
        )
        active, wide = "feed_forward_residual", streams * hidden
        again = replace(norm, name="streams.norm_again", source=active)
        rerouted = replace(router, name="streams.router_again", source=again.name)
        corrected = (
            Reused.around(again),
            Reused.around(rerouted),
            Linear.of("streams.correction", rerouted.name, rows, streams, streams, use="router"),
            Elementwise(
                name="streams.corrected",
                rows=rows,
                read=wide + hidden,
                written=wide,
                holds=(Held(active, hidden), Held("streams.mixed", wide)),
            ),
            Learned(name="streams.scale", shapes=((hidden,),), elements=rows * hidden),
        )
        return (*predicted, *low, *self.layer.operators(workload, hidden), *corrected)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what the mixer keeps."""
        return self.layer.cache(batch, tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamProjections:
    """The embedding projected to the other streams, after what stands beside it; or all back."""

    streams: int
    name: str
    beside: SubLayer | None = None

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators of the projections, and the source's name."""
        first: tuple[Operator, ...] = ()
        if self.beside is not None:
            first, _ = self.beside.operators(workload, hidden, source)
        others = (
            Linear.of(f"{self.name}.{stream}", source, workload.rows, hidden, hidden)
            for stream in range(1, self.streams)
        )
        return (*first, *others), source
