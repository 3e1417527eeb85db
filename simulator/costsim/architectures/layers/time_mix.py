"""RWKV's two sub-layers: mixing along time, and along channels, each with the position before."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.operators import Columns, Elementwise, Held, Linear, Operator
from costsim.architectures.operators.recurrence import Recurrence
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


def _shifted(
    name: str, source: str, rows: Number, hidden: Number, parts: tuple[str, ...]
) -> Recurrence:
    """Return the mixture of each position with the one before it, one for each of `parts`."""
    return Recurrence(
        name=name,
        rows=rows,
        read=hidden,
        written=len(parts) * hidden,
        flops=0,
        holds=(Held(source, hidden),),
        vectors=tuple((part, (hidden,)) for part in parts),
        divided=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeMix:
    """Receptance, key and value of `width`; values averaged with weights that decay; projected.

    The state of a channel is numerator, denominator and the greatest exponent so far.
    """

    width: Number
    hidden: Number

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows, width = workload.rows, self.width
        parts = ("key", "value", "receptance")
        found: list[Operator] = [_shifted("time.shift", source, rows, hidden, parts)]
        found += [
            Linear.of(f"time.{part}", f"time.shift.{part}", rows, hidden, width, split="column")
            for part in parts
        ]
        found += [
            Recurrence(
                name="time.scan",
                rows=rows,
                read=3 * width,
                written=width,
                flops=0,
                state=3 * workload.batch * width if workload.generates else 0,
                holds=(*(Held(f"time.{part}", width) for part in parts), Held("time.mean", width)),
                vectors=(("decay", (width,)), ("first", (width,))),
            ),
            Linear.of("time.output", "time.scan", rows, width, hidden, split="row"),
        ]
        return tuple(found), "time.output"

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

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the network's output, and its name."""
        rows, width = workload.rows, self.width
        shift, key, value, receptance, activation, product = (
            f"channel.{part}"
            for part in ("shift", "key", "value", "receptance", "activation", "product")
        )
        found: tuple[Operator, ...] = (
            _shifted(shift, source, rows, hidden, ("key", "receptance")),
            Linear.of(key, f"{shift}.key", rows, hidden, width, split="column"),
            Elementwise(
                name=activation,
                rows=rows,
                read=width,
                written=width,
                holds=(Held(key, width),),
                function="relu2",
                split="columns",
            ),
            Linear.of(value, activation, rows, width, hidden, split="row"),
            Linear(
                name=receptance,
                source=f"{shift}.receptance",
                rows=rows,
                inputs=hidden,
                columns=(Columns(hidden, hidden),),
            ),
            Elementwise(
                name=product,
                rows=rows,
                read=2 * hidden,
                written=hidden,
                holds=(Held(value, hidden), Held(receptance, hidden)),
            ),
        )
        return found, product

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the last input."""
        return (CacheTensor("last_input", batch * self.hidden, heads=1),)
