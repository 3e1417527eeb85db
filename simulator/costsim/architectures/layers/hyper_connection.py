"""Several residual streams, mixed into each sub-layer's input and added its output (HyV4).

Hyper-connections (Zhu et al. 2024, arXiv 2409.19606): one projection of all streams says, for each
position, how they are weighed into an input and how much of the output each of them gets.
"""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.layer import Mixer, SubLayer
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.operators import Elementwise, Held, Learned, Linear, Operator
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


def _weighed(
    name: str, rows: Number, hidden: Number, streams: Number, weights: Number, scales: Number
) -> tuple[Operator, ...]:
    """Return the operators that weigh `streams` into one, by `weights` made of all of them."""
    wide, mixed = streams * hidden, f"{name}.mixed"
    return (
        Linear.of(f"{name}.weights", "input", rows, wide, weights, use="router"),
        Learned(name=f"{name}.base", shapes=((weights,), (scales,)), elements=rows * weights),
        Elementwise(name=mixed, rows=rows, read=wide, written=hidden, holds=(Held("input", wide),)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperLayer:
    """Mixer and network, each between a weighing of the streams and an addition to all of them."""

    mixer: Mixer
    feed_forward: SubLayer
    norm: NormStyle
    streams: Number

    def operators(self, workload: Workload, hidden: Number) -> tuple[Operator, ...]:
        """Return the operators of one layer; its input is called `input`."""
        rows, found = workload.rows, list[Operator]()
        for name, part in (("mixer", self.mixer), ("feed_forward", self.feed_forward)):
            streams = self.streams
            found.extend(_weighed(f"{name}_streams", rows, hidden, streams, 2 * streams, 2))
            norm = self.norm.operator(f"{name}_norm", f"{name}_streams.mixed", rows, hidden)
            operators, output = part.operators(workload, hidden, norm.name)
            added = Elementwise(
                name=f"{name}_residual",
                rows=rows,
                read=(streams + 1) * hidden,
                written=streams * hidden,
                holds=(Held(output, hidden),),
            )
            found += [norm, *operators, added]
        return tuple(found)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what the mixer keeps."""
        return self.mixer.cache(batch, tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperHead:
    """The weighing of the streams into what the head reads."""

    streams: Number

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that make one stream, and its name."""
        name = "head.streams"
        found = _weighed(name, workload.rows, hidden, self.streams, self.streams, 1)
        return found, f"{name}.mixed"
