"""RWKV's two sub-layers: mixing along time, and along channels, each with the position before."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.tensors import CacheTensor


def _shifted(x: Tensor, *parts: str) -> tuple[Tensor, ...]:
    """Record the mixture of each position with the one before it, one for each of `parts`."""
    shift = x.scan(
        "shift",
        width=len(parts) * x.width,
        read=x.width,
        flops=0,
        keeps=(x,),
        vectors=tuple((part, (x.width,)) for part in parts),
        divided=False,
    )
    return tuple(shift.called(f"shift.{part}", x.width) for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeMix:
    """Receptance, key and value of `width`; values averaged with weights that decay; projected.

    The state of a channel is numerator, denominator and the greatest exponent so far.
    """

    width: Number
    hidden: Number

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        width, parts = self.width, ("key", "value", "receptance")
        shifted = _shifted(x.within("time"), *parts)
        made = [
            read.linear(part, width, split="column")
            for part, read in zip(parts, shifted, strict=True)
        ]
        scan = made[0].scan(
            "scan",
            *made[1:],
            width=width,
            read=3 * width,
            flops=0,
            state=3 * width,
            keeps=(*made, made[0].called("mean", width)),
            vectors=(("decay", (width,)), ("first", (width,))),
        )
        return scan.linear("output", x.width, split="row")

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the last input, and the state in fp32, however many `tokens`."""
        return (
            CacheTensor("last_input", batch * self.hidden, heads=1),
            CacheTensor("state", 3 * batch * self.width, "float32"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelMix:
    """A network h → width → h with a squared ReLU, scaled by the sigmoid of its receptance."""

    width: Number
    hidden: Number

    def build(self, x: Tensor) -> Tensor:
        """Record the network."""
        to_key, to_receptance = _shifted(x.within("channel"), "key", "receptance")
        key = to_key.linear("key", self.width, split="column")
        active = key.elementwise("activation", function="relu2", split="columns")
        value = active.linear("value", x.width, split="row")
        receptance = to_receptance.linear("receptance", x.width)
        return value.elementwise("product", receptance)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the last input."""
        return (CacheTensor("last_input", batch * self.hidden, heads=1),)
