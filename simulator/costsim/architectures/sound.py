"""Sound as a stack sees it: convolutions over waves or mel frames, then vectors at fewer places."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from costsim.algebra import Number
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.layers.tables import Table
from costsim.architectures.operators import Convolution, Pooling
from costsim.architectures.operators.convolution import strided
from costsim.architectures.stacks import embedded
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

    def build(self, x: Tensor) -> Tensor:
        """Record it as a sub-layer."""
        return self.over(x, "convolution", x.workload.tokens)

    def length(self, length: Number) -> Number:
        """Return how many positions it makes of `length`."""
        return strided(length, self.kernel, self.stride, self.padded)

    def over(self, x: Tensor, name: str, length: Number, *, leaf: bool = False) -> Tensor:
        """Record convolution, norm and activation over sounds `length` long."""
        batch, made = x.workload.batch, self.length(length)
        filtered = x.make(
            Convolution,
            name,
            self.outputs,
            made_rows=batch * made,
            source=x.name,
            batch=batch,
            sizes=(length,),
            inputs=x.width,
            outputs=self.outputs,
            kernel=(self.kernel,),
            stride=(self.stride,),
            padded=(self.padded,),
            dilation=(1,),
            groups=self.groups,
            bias=self.bias,
            leaf=leaf,
        )
        seen = filtered
        if self.weight_norm:
            filtered.learned(f"{name}.lengths", (1, 1, self.kernel), elements=0)
        if self.norm == "group":
            seen = filtered.channel_norm(f"{name}.norm", made, "group", self.outputs)
        elif self.norm is not None:
            affine = self.norm == "layer"
            style = NormStyle(kind="layer", weight=affine, bias=affine)
            seen = filtered.norm(f"{name}.norm", style)
        return filtered.made_by(seen).elementwise(
            f"{name}.activation",
            width=self.channels,
            function=None if self.gated else self.activation,
        )


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

    def build(self, x: Tensor) -> Tensor:
        """Record filters, projection and positions."""
        hidden, workload, inside = x.width, x.workload, self.inside(x.workload)
        length = self._heard(workload)
        stream = x.called_as(x.name, self.channels)
        for index, one in enumerate(self.filters):
            stream = one.over(stream, f"filter.{index}", length, leaf=index == 0)
            length = one.length(length)
        stream = stream.beside(stream.name, workload.batch * length, stream.width)
        if self.projection_norm:
            stream = stream.norm("projection_norm", LAYER_NORM)
        if self.projected:
            stream = stream.linear("projection", hidden, bias=True)
        if self.mask != 0:
            stream.learned("mask", (self.mask,), elements=0)
        if self.squeeze > 1:
            stream.make(
                Pooling,
                "squeezed",
                hidden,
                source=stream.name,
                batch=workload.batch,
                sizes=(length,),
                output_sizes=(length // self.squeeze,),
                channels=hidden,
                kind="mean",
            )
        beside, seen = stream.called_as(stream.name, hidden), length
        for index, one in enumerate(self.around):
            beside = one.over(beside, f"around.{index}", seen).called_as(
                beside.called(f"around.{index}.activation").name, hidden
            )
            seen = length // self.squeeze
        stream = stream.beside(stream.name, inside.rows, hidden)
        if self.table is not None:
            with x.recorder.during(inside):
                self.table.look_up(embedded(x, "embedding"), hidden)
        if self.around or self.table is not None:
            stream = stream.residual("positioned", beside, dropout=self.dropout, source="weight")
        return stream if self.norm is None else stream.norm("norm", self.norm)


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

    def build(self, x: Tensor) -> Tensor:
        """Record the filters and the dense layer."""
        stream, height, width = x.called_as(x.name, 1), self.bands, self.frames
        for index, outputs in enumerate(self.channels):
            stream = stream.make(
                Convolution,
                f"filter.{index}",
                outputs,
                source=stream.name,
                batch=x.workload.batch,
                sizes=(height, width),
                inputs=stream.width,
                outputs=outputs,
                kernel=(3, 3),
                stride=(2, 2),
                padded=(2, 2),
                dilation=(1, 1),
                bias=True,
                leaf=index == 0,
            )
            height, width = (strided(side, 3, 2, 2) for side in (height, width))
        flat = stream.called_as(stream.name, stream.width * height)
        return flat.linear("projection", x.width, bias=self.bias)


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

    def build(self, x: Tensor) -> Tensor:
        """Record the vectors, and their norm."""
        learned = x.learned("queries", (1, self.queries, x.width))
        return learned if self.norm is None else learned.norm("norm", self.norm)
