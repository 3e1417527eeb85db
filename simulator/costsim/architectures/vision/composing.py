"""Composing a net of maps step by step: convolutions, norms, pooling, and how branches join."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import Literal

from costsim.algebra import Number, ceil_div, maximum, minimum
from costsim.architectures.block import Block
from costsim.architectures.operators import (
    ChannelNorm,
    Convolution,
    Elementwise,
    Held,
    Operator,
    Pooling,
    Sizes,
)
from costsim.architectures.operators.convolution import strided
from costsim.architectures.operators.eager import FUNCTIONS
from costsim.architectures.tensors import Activation
from costsim.architectures.vision.maps import Extent, Map, Part, Step, each
from costsim.architectures.workload import FUSED
from costsim.errors import SpecError

_FROM_OUTPUT = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh")
"""Functions differentiated by what they gave, which may therefore overwrite what they read."""


class MapNet:
    """A net in the making: `x` is the map that the next step reads."""

    def __init__(self, batch: Number, channels: Number, sizes: Sizes) -> None:
        self.batch: Number = batch
        self.x = Map("input", channels, sizes, leaf=True)
        self._blocks: list[Block] = []
        self._operators: list[Operator] = []
        self._names: dict[str, int] = {}

    # Blocks

    def block(
        self, name: str, build: Step, count: Number = 1, part: Part = "layer", *more: Map
    ) -> None:
        """Add `count` equal blocks, each what `build` adds; none where `count` is 0.

        `more` are maps from earlier blocks that it also reads.
        """
        if isinstance(count, int) and count == 0:
            return
        entry = replace(self.x, name="input")
        self.x, self._operators, self._names = entry, [], {}
        build()
        elements = self.batch * (entry.channels * entry.positions)
        elements += sum(self.batch * (held.channels * held.positions) for held in more)
        source = Activation("input", elements)
        self._blocks.append(Block(name, tuple(self._operators), source, count, part))
        self._operators = []

    def blocks(self) -> tuple[Block, ...]:
        """Return the blocks so far. What a block's last function keeps, the next may keep too."""
        found = list(self._blocks)
        for index, block in enumerate(found[:-1]):
            following = found[index + 1].saved(FUSED)
            last = block.operators[-1] if block.operators else None
            twice = any(kept.name == "input" for kept in following)
            if isinstance(last, Elementwise) and twice and _keeps_output(last):
                bare = replace(last, function=None, holds=())
                found[index] = replace(block, operators=(*block.operators[:-1], bare))
        return tuple(found)

    def add(self, operator: Operator) -> None:
        """Add an operator as it is."""
        self._operators.append(operator)

    def name(self, kind: str) -> str:
        """Return a name that no operator of this block has yet."""
        count = self._names.get(kind, 0) + 1
        self._names[kind] = count
        return kind if count == 1 else f"{kind}.{count}"

    # Maps

    def convolution(
        self,
        outputs: Number,
        kernel: Extent = 1,
        stride: Extent = 1,
        padding: Extent | Literal["same"] | None = None,
        *,
        groups: Number = 1,
        dilation: Extent = 1,
        bias: bool = False,
        transposed: bool = False,
        padded: Extent | None = None,
        split: Literal["column", "row", "channels"] | None = None,
    ) -> None:
        """Convolve. `padding` is of each end; None is half the kernel, `same` keeps size/stride.

        `padded` is of both ends together, where they differ.
        """
        x = self.x
        kernels, strides = self._each(kernel), self._each(stride)
        dilations = self._each(dilation)
        spans = tuple(d * (k - 1) + 1 for d, k in zip(dilations, kernels, strict=True))
        if padded is not None:
            ends = self._each(padded)
        elif padding is None:
            ends = tuple(2 * (span // 2) for span in spans)
        elif padding == "same":
            wanted = (
                (ceil_div(n, s) - 1) * s + span - n
                for n, s, span in zip(x.sizes, strides, spans, strict=True)
            )
            ends = tuple(maximum(total, 0) for total in wanted)
        else:
            ends = tuple(2 * end for end in self._each(padding))
        operator = Convolution(
            name=self.name("convolution"),
            source=x.name,
            batch=self.batch,
            sizes=x.sizes,
            inputs=x.channels,
            outputs=outputs,
            kernel=kernels,
            stride=strides,
            padded=ends,
            dilation=dilations,
            groups=groups,
            bias=bias,
            transposed=transposed,
            leaf=x.leaf,
            split=split,
        )
        self.add(operator)
        self._require(operator.output_sizes)
        divided = "columns" if split in ("column", "channels") else None
        self.x = Map(operator.name, outputs, operator.output_sizes, split=divided)

    def depthwise(
        self,
        kernel: Extent,
        stride: Extent = 1,
        padding: Extent | Literal["same"] | None = None,
        *,
        bias: bool = False,
        dilation: Extent = 1,
        padded: Extent | None = None,
    ) -> None:
        """Convolve each channel by itself."""
        channels = self.x.channels
        split = "channels" if self.x.split == "columns" else None
        self.convolution(
            channels,
            kernel,
            stride,
            padding,
            groups=channels,
            bias=bias,
            dilation=dilation,
            padded=padded,
            split=split,
        )

    def channel_norm(
        self,
        kind: Literal["batch", "group"] = "batch",
        groups: Number = 1,
        *,
        weight: bool = True,
        bias: bool = True,
    ) -> None:
        """Normalize channels by the batch's statistics, or groups of them by their own."""
        x = self.x
        operator = ChannelNorm(
            name=self.name(f"{kind}_norm"),
            source=x.name,
            batch=self.batch,
            positions=x.positions,
            channels=x.channels,
            kind=kind,
            groups=groups,
            weight=weight,
            bias=bias,
            split="columns" if x.split == "columns" else None,
        )
        self.add(operator)
        self.x = replace(x, name=operator.name, leaf=False)

    def activation(self, function: str) -> None:
        """Apply a function to every value."""
        x = self.x
        name = self.name(function)
        kept = name if function in _FROM_OUTPUT else x.name
        self.add(
            Elementwise(
                name=name,
                rows=self.batch * x.positions,
                read=x.channels,
                written=x.channels,
                holds=(Held(kept, x.channels),),
                function=function if function in FUNCTIONS else None,
                split=x.split,
            )
        )
        self.x = replace(x, name=name)

    def convolution_norm(
        self,
        outputs: Number,
        kernel: Extent = 1,
        stride: Extent = 1,
        padding: Extent | Literal["same"] | None = None,
        *,
        groups: Number = 1,
        dilation: Extent = 1,
        padded: Extent | None = None,
        function: str | None = "relu",
        split: Literal["column", "row", "channels"] | None = None,
    ) -> None:
        """Convolve without bias, normalize by batch, and apply `function` if there is one."""
        self.convolution(
            outputs,
            kernel,
            stride,
            padding,
            groups=groups,
            dilation=dilation,
            padded=padded,
            split=split,
        )
        self.channel_norm()
        if function is not None:
            self.activation(function)

    def pool(
        self,
        kind: Literal["max", "mean"],
        kernel: Extent,
        stride: Extent | None = None,
        padding: Extent = 0,
        *,
        ceil: bool = False,
    ) -> None:
        """Take the largest or the mean of windows; with `ceil`, also of windows that jut out."""
        x = self.x
        kernels = self._each(kernel)
        strides = kernels if stride is None else self._each(stride)
        sizes: list[Number] = []
        for n, k, s, p in zip(x.sizes, kernels, strides, self._each(padding), strict=True):
            if ceil:  # but none may begin beyond the map
                sizes.append(minimum(ceil_div(n + 2 * p - k, s) + 1, ceil_div(n + p, s)))
            else:
                sizes.append(strided(n, k, s, 2 * p))
        self._pooled(kind, tuple(sizes), whole=False)

    def pool_to(self, kind: Literal["max", "mean"], sizes: Sizes) -> None:
        """Pool to `sizes`, whatever the size of the map."""
        self._pooled(kind, sizes, whole=False)

    def mean(self) -> None:
        """Take the mean of the whole map, which leaves one position."""
        self._pooled("mean", (1,) * len(self.x.sizes), whole=True)

    def _pooled(self, kind: Literal["max", "mean"], sizes: Sizes, *, whole: bool) -> None:
        x = self.x
        self._require(sizes)
        name = self.name("pooling")
        self.add(
            Pooling(
                name=name,
                source=x.name,
                batch=self.batch,
                sizes=x.sizes,
                output_sizes=sizes,
                channels=x.channels,
                kind=kind,
                whole=whole,
                split="columns" if x.split == "columns" else None,
            )
        )
        self.x = replace(x, name=name, sizes=sizes)

    def enlarge(self, factor: Number) -> None:
        """Repeat every position `factor` times along each dimension."""
        x = self.x
        sizes = tuple(size * factor for size in x.sizes)
        name, positions = self.name("enlargement"), prod(sizes)
        self.add(
            Elementwise(
                name=name,
                rows=self.batch * positions,
                read=x.channels,
                written=x.channels,
                split=x.split,
            )
        )
        self.x = replace(x, name=name, sizes=sizes)

    def reshape(self, channels: Number, sizes: Sizes) -> None:
        """See the same values as another map: flattened, or patches joined to channels."""
        self.x = replace(self.x, channels=channels, sizes=sizes)

    def rearrange(self, channels: Number, sizes: Sizes) -> None:
        """Copy the same values into another order: windows, tokens one after another."""
        x = self.x
        name = self.name("rearrangement")
        rows = self.batch * prod(sizes)
        self.add(Elementwise(name=name, rows=rows, read=channels, written=channels, split=x.split))
        self.x = replace(x, name=name, channels=channels, sizes=sizes)

    def flatten(self) -> None:
        """See a map as one vector."""
        self.reshape(self.x.channels * self.x.positions, ())

    def tokens(self, extra: Number = 0) -> None:
        """See a map as a sequence, with `extra` places before it."""
        x = self.x
        self.x = replace(x, sizes=(x.positions + extra,), split="sequence")

    # Joining

    def residual(self, build: Step, shortcut: Step | None = None) -> None:
        """Add what `build` makes of the map to the map, or to what `shortcut` makes of it."""
        start = self.x
        build()
        branch, self.x = self.x, start
        if shortcut is not None:
            shortcut()
        self.plus(branch)

    def plus(self, other: Map) -> None:
        """Add another map."""
        self._joined("addition", other, self.x.channels, holds=())

    def times(self, other: Map, *, broadcast: bool = False) -> None:
        """Multiply with another map, which may have one position for all."""
        x = self.x
        holds = (Held(x.name, x.channels),)
        if not broadcast:
            holds = (*holds, Held(other.name, x.channels))
        self._joined("product", other, x.channels, holds=holds)

    def _joined(self, kind: str, other: Map, channels: Number, holds: tuple[Held, ...]) -> None:
        x = self.x
        name = self.name(kind)
        rows = self.batch * x.positions
        self.add(
            Elementwise(
                name=name,
                rows=rows,
                read=2 * channels,
                written=channels,
                holds=holds,
                split=x.split,
            )
        )
        self.x = replace(x, name=name, leaf=x.leaf and other.leaf)

    def branches(self, *builds: Step) -> None:
        """Concatenate the channels of what each build makes of the same map."""
        start = self.x
        made: list[Map] = []
        for build in builds:
            self.x = start
            build()
            made.append(self.x)
        self.concatenate(*made)

    def concatenate(self, *maps: Map) -> None:
        """Join channels of maps of the same size, by a copy."""
        channels = sum(one.channels for one in maps)
        name = self.name("concatenation")
        last = maps[-1]
        self.add(
            Elementwise(
                name=name,
                rows=self.batch * last.positions,
                read=channels,
                written=channels,
                split=last.split,
            )
        )
        leaf = all(one.leaf for one in maps)
        self.x = replace(last, name=name, channels=channels, leaf=leaf)

    def squeeze_excite(self, width: Number, function: str = "relu", gate: str = "sigmoid") -> None:
        """Multiply each channel by what a small network makes of the means of all."""
        x = self.x
        divided = x.split == "columns"
        self.mean()
        self.convolution(width, bias=True, split="row" if divided else None)
        self.activation(function)
        self.convolution(x.channels, bias=True, split="column" if divided else None)
        self.activation(gate)
        weights, self.x = self.x, x
        self.times(weights, broadcast=True)

    # Who passes through

    def apart(self, times: Number, channels: Number, build: Step) -> None:
        """Build on `times` maps of `channels` for each map: heads, or places treated alike."""
        with self.multiplied(times):
            x = self.x
            self.x = replace(x, channels=channels, split=None)
            build()
            made = self.x
        self.x = replace(made, channels=times * made.channels, split=x.split)

    @contextmanager
    def multiplied(self, times: Number) -> Generator[None]:
        """Let `times` as many maps pass."""
        batch = self.batch
        self.batch = batch * times
        yield
        self.batch = batch

    def once(self, start: Map, build: Step) -> Map:
        """Return what is made of `start` once for the whole batch; the map stays as it is."""
        x, batch = self.x, self.batch
        self.batch, self.x = 1, start
        build()
        made = self.x
        self.batch, self.x = batch, x
        return made

    def _require(self, sizes: Sizes) -> None:
        """Check that a map has positions.

        Raises:
            SpecError: if the image is too small for the windows that follow one another.
        """
        if any(isinstance(size, int) and size < 1 for size in sizes):
            before = "×".join(str(size) for size in self.x.sizes)
            raise SpecError(f"the image is too small: a map of {before} has no window left")

    def _each(self, extent: Extent) -> tuple[Number, ...]:
        return each(extent, len(self.x.sizes))


def _keeps_output(operator: Elementwise) -> bool:
    return any(held.name == operator.name for held in operator.holds)
