"""Several residual streams, mixed into each sub-layer's input and added its output (HyV4).

Hyper-connections (Zhu et al. 2024, arXiv 2409.19606): one projection of all streams says, for each
position, how they are weighed into an input and how much of the output each of them gets.
"""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.layer import Mixer, SubLayer
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import INPUT, Tensor
from costsim.architectures.tensors import CacheTensor


def _weighed(x: Tensor, name: str, streams: Number, weights: Number, scales: Number) -> Tensor:
    """Record what weighs `streams` into one, by `weights` made of all of them."""
    wide = x.beside("input", x.rows, streams * x.width).within(name)
    made = wide.linear("weights", weights, use="router")
    made = made.learned("base", (weights,), (scales,))
    return wide.elementwise("mixed", made, width=x.width, read=wide.width, keeps=(wide,))


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperLayer:
    """Mixer and network, each between a weighing of the streams and an addition to all of them.

    Where it `mixes` (DeepSeek-V4), a matrix made for each position mixes what is added to.
    """

    mixer: Mixer
    feed_forward: SubLayer
    norm: NormStyle
    streams: Number
    mixes: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record one layer."""
        streams = self.streams
        weights = (streams + 2) * streams if self.mixes else 2 * streams
        for name, part in (("mixer", self.mixer), ("feed_forward", self.feed_forward)):
            weighed = _weighed(x, f"{name}_streams", streams, weights, 3 if self.mixes else 2)
            weighed = weighed.within("")
            output = part.build(weighed.norm(f"{name}_norm", self.norm)).within("")
            if self.mixes:
                wide = weighed.beside("input", x.rows, streams * x.width)
                weighed.called_as(f"{name}_mixing", streams**2).product(
                    f"{name}_mixed",
                    wide,
                    rows=streams,
                    inner=streams,
                    columns=x.width,
                    count=x.rows,
                    split=None,
                )
            output.elementwise(
                f"{name}_residual",
                weighed,
                read=(streams + 1) * x.width,
                width=streams * x.width,
                keeps=(output,),
            )
        return x.called(INPUT)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what the mixer keeps."""
        return self.mixer.cache(batch, tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperHead:
    """The weighing of the streams into what the head reads."""

    streams: Number

    def build(self, x: Tensor) -> Tensor:
        """Record what makes one stream."""
        return _weighed(x, "head.streams", self.streams, self.streams, 1)
