"""A network that every token passes beside experts that some do, each with norms (Gemma 4)."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.feed_forward import FeedForward
from costsim.architectures.layers.mixture_of_experts import route, through_experts
from costsim.architectures.layers.norm import RMS, NormStyle
from costsim.architectures.layers.recording import Tensor

_BARE = NormStyle(kind="rms", weight=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseAndSparse:
    """The sum of a network and of routed experts of `width`, which read the stream before its norm.

    The router scales what it reads, value by value, and what each expert gives.
    """

    network: FeedForward
    width: Number
    experts: Number
    top_k: Number

    def build(self, x: Tensor) -> Tensor:
        """Record both and the sum."""
        at = x.within("feed_forward")
        stream = at.beside("mixer_residual", x.rows, x.width)
        dense = self.network.build(x).within("feed_forward").norm("dense_norm", RMS)
        read = stream.norm("router_norm", _BARE).elementwise("router_scale", scalars=x.width)
        chosen = route(read, self.experts, self.top_k, correction=True)
        sparse = through_experts(
            stream.norm("experts_norm", RMS),
            chosen,
            width=self.width,
            experts=self.experts,
            top_k=self.top_k,
            gated=True,
        )
        return dense.elementwise("sum", sparse.norm("sparse_norm", RMS), keeps=())
