"""Sound as a stack sees it: convolutions over waves or mel frames, then vectors at fewer places."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.tables import Table
from costsim.architectures.operators import (
    ChannelNorm,
    Convolution,
    Elementwise,
    Held,
    Learned,
    Linear,
    Operator,
    Pooling,
    Residual,
)
from costsim.architectures.operators.convolution import strided
from costsim.architectures.workload import Workload

LAYER_NORM = NormStyle(kind="layer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A convolution along time, what normalizes its channels, and an activation function.

    `padded` counts the positions added at both ends together. A `gated` one (GLU) multiplies half
    of its channels with the sigmoid of the other half. A `weight_norm` keeps the length of each tap
    apart from its direction.
    """

    outputs: Number
    kernel: Number
    stride: Number = 1
    padded: Number = 0
    groups: Number = 1
    bias: bool = True
    gated: bool = False
    activation: str = "gelu"
    norm: Literal["layer", "group", "bare"] | None = None
    weight_norm: bool = False

    @property
    def channels(self) -> Number:
        """Channels after the gate."""
        return self.outputs // 2 if self.gated else self.outputs

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return its operators as a sub-layer of a stream `hidden` wide."""
        name = "convolution"
        found = self.steps(name, source, workload.batch, workload.tokens, hidden, leaf=False)
        return found, f"{name}.activation"

    def length(self, length: Number) -> Number:
        """Return how many positions it makes of `length`."""
        return strided(length, self.kernel, self.stride, self.padded)

    def steps(
        self, name: str, source: str, batch: Number, length: Number, inputs: Number, *, leaf: bool
    ) -> tuple[Operator, ...]:
        """Return convolution, norm and activation."""
        rows = batch * self.length(length)
        found: list[Operator] = [
            Convolution(
                name=name,
                source=source,
                batch=batch,
                sizes=(length,),
                inputs=inputs,
                outputs=self.outputs,
                kernel=(self.kernel,),
                stride=(self.stride,),
                padded=(self.padded,),
                dilation=(1,),
                groups=self.groups,
                bias=self.bias,
                leaf=leaf,
            )
        ]
        if self.weight_norm:
            found.append(Learned(name=f"{name}.lengths", shapes=((1, 1, self.kernel),)))
        if self.norm == "group":
            found.append(
                ChannelNorm(
                    name=f"{name}.norm",
                    source=name,
                    batch=batch,
                    positions=self.length(length),
                    channels=self.outputs,
                    kind="group",
                    groups=self.outputs,
                )
            )
        elif self.norm is not None:
            affine = self.norm == "layer"
            style = NormStyle(kind="layer", weight=affine, bias=affine)
            found.append(style.operator(f"{name}.norm", name, rows, self.outputs))
        found.append(
            Elementwise(
                name=f"{name}.activation",
                rows=rows,
                read=self.outputs,
                written=self.channels,
                holds=(Held(name, self.outputs),),
                function=None if self.gated else self.activation,
            )
        )
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundStem:
    """Filters one after the other, a projection to the stream, positions.

    `channels` are those of the input: 1 of a wave, as many as there are mel bands. A workload's
    tokens are samples of the wave, or frames. `projected` says whether a norm and a dense layer
    turn channels into the stream's width; `around` are filters over the stream that add relative
    positions to it. `mask` counts the values that stand for masked vectors; `squeeze` averages so
    many neighbours into one. `frames` are heard whatever the workload's tokens, which are a text's.
    """

    channels: Number
    filters: tuple[Filter, ...]
    projected: bool = False
    projection_norm: bool = False
    around: tuple[Filter, ...] = ()
    table: Table | None = None
    norm: NormStyle | None = None
    mask: Number = 0
    squeeze: int = 1
    frames: Number | None = None
    dropout: bool = False

    def inside(self, workload: Workload) -> Workload:
        """Return what passes through the layers: as many tokens as the last filter makes."""
        length = self._filtered(workload)
        return replace(workload, tokens=length // self.squeeze, context=None)

    def _heard(self, workload: Workload) -> Number:
        """Return the length of the sound; a shorter one than the filters see is padded."""
        length = workload.tokens if self.frames is None else self.frames
        needed = 1
        for one in reversed(self.filters):
            needed = (needed - 1) * one.stride + one.kernel - one.padded
        return max(length, needed) if type(length) is int and type(needed) is int else length

    def _filtered(self, workload: Workload) -> Number:
        length = self._heard(workload)
        for one in self.filters:
            length = one.length(length)
        return length

    def operators(
        self, workload: Workload, hidden: Number, prefix: str = ""
    ) -> tuple[Operator, ...]:
        """Return filters, projection and positions."""
        inside = self.inside(workload)
        batch, channels = workload.batch, self.channels
        length = self._heard(workload)
        found: list[Operator] = []
        source = f"{prefix}input"
        for index, one in enumerate(self.filters):
            name = f"{prefix}filter.{index}"
            found.extend(one.steps(name, source, batch, length, channels, leaf=index == 0))
            source, length, channels = f"{name}.activation", one.length(length), one.channels
        rows = batch * length
        if self.projection_norm:
            name = f"{prefix}projection_norm"
            found.append(LAYER_NORM.operator(name, source, rows, channels))
            source = name
        if self.projected:
            name = f"{prefix}projection"
            found.append(Linear.of(name, source, rows, channels, hidden, bias=True))
            source = name
        if self.mask != 0:
            found.append(Learned(name=f"{prefix}mask", shapes=((self.mask,),)))
        if self.squeeze > 1:
            found.append(
                Pooling(
                    name=f"{prefix}squeezed",
                    source=source,
                    batch=batch,
                    sizes=(length,),
                    output_sizes=(length // self.squeeze,),
                    channels=hidden,
                    kind="mean",
                )
            )
        beside, seen = source, length
        for index, one in enumerate(self.around):
            name = f"{prefix}around.{index}"
            found.extend(one.steps(name, beside, batch, seen, hidden, leaf=False))
            beside, seen = f"{name}.activation", length // self.squeeze
        if self.table is not None:
            found.append(self.table.operator(f"{prefix}embedding", inside, hidden))
        if self.around or self.table is not None:
            name = f"{prefix}positioned"
            found.append(
                Residual(
                    name=name, rows=inside.rows, width=hidden, dropout=self.dropout, source="weight"
                )
            )
            source = name
        if self.norm is not None:
            found.append(self.norm.operator(f"{prefix}norm", source, inside.rows, hidden))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrogramStem:
    """Filters over mel bands and frames as over an image, each halving both; a dense layer."""

    bands: Number
    frames: Number
    channels: tuple[Number, ...]
    bias: bool = False  # of the dense layer

    def inside(self, workload: Workload) -> Workload:
        """Return what passes through the layers."""
        length = self.frames
        for _ in self.channels:
            length = strided(length, 3, 2, 2)
        return replace(workload, tokens=length, context=None, generates=False)

    def operators(
        self, workload: Workload, hidden: Number, prefix: str = ""
    ) -> tuple[Operator, ...]:
        """Return the filters and the dense layer."""
        found: list[Operator] = []
        source, inputs, sizes = f"{prefix}input", 1, (self.bands, self.frames)
        for index, outputs in enumerate(self.channels):
            one = Convolution(
                name=f"{prefix}filter.{index}",
                source=source,
                batch=workload.batch,
                sizes=sizes,
                inputs=inputs,
                outputs=outputs,
                kernel=(3, 3),
                stride=(2, 2),
                padded=(2, 2),
                dilation=(1, 1),
                bias=True,
                leaf=index == 0,
            )
            found.append(one)
            source, inputs = one.name, outputs
            height, width = one.output_sizes
            sizes = (height, width)
        inside = self.inside(workload)
        width = inputs * sizes[0]
        name = f"{prefix}projection"
        found.append(Linear.of(name, source, inside.rows, width, hidden, bias=self.bias))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryStem:
    """A few learned vectors as a stream, whose layers look at `seen` vectors of another."""

    queries: Number
    seen: Number
    norm: NormStyle | None = None

    def inside(self, workload: Workload) -> Workload:
        """Return what passes through the layers."""
        return replace(
            workload, tokens=self.queries, context=None, source_tokens=self.seen, generates=False
        )

    def operators(
        self, workload: Workload, hidden: Number, prefix: str = ""
    ) -> tuple[Operator, ...]:
        """Return the vectors, and their norm."""
        rows = workload.batch * self.queries
        name = f"{prefix}queries"
        learned = Learned(name=name, shapes=((1, self.queries, hidden),), elements=rows * hidden)
        if self.norm is None:
            return (learned,)
        return (learned, self.norm.operator(f"{prefix}norm", name, rows, hidden))
