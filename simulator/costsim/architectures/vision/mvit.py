"""MViT (Fan et al. 2021) and V2 (Li et al. 2021): video transformers that pool as they go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import prod

from costsim.algebra import Number
from costsim.architectures.operators import Sizes
from costsim.architectures.operators.convolution import strided
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Map, Net

_KERNEL = 3  # of the depthwise convolutions that pool
_PATCH, _PATCH_STRIDE = (3, 7, 7), (2, 4, 4)  # overlapping patches of a clip


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer: the grid of positions that it reads, now and natively, and what it does to it."""

    grid: Sizes
    native: tuple[int, ...]
    heads: int
    stride: int  # of queries
    key_stride: int
    width: int  # channels that it gives


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiscaleVit(ImageNet):
    """Patches of a clip, then stages that halve the map and double channels and heads.

    Queries are pooled where a stage begins, keys and values everywhere, to the same size in all.
    """

    image: tuple[int, ...] = (16, 224, 224)
    classes: int = 400
    depths: tuple[int, ...]
    """Layers of each stage."""
    hidden: int = 96
    """Channels of the first stage."""
    key_stride: int = 8
    """Stride of the pooling of keys and values in the first stage; it halves with each."""
    version: int = 1
    """Version 2 widens in attention, pools all queries, and scores distances of positions."""

    def build(self, net: Net) -> None:
        clip = net.x.sizes
        native: tuple[int, ...] = tuple(
            n // s for n, s in zip(self.image, _PATCH_STRIDE, strict=True)
        )
        net.block("patches", partial(self._stem, net, native), part="stem")
        grid = tuple(
            strided(n, k, s, 2 * (k // 2))
            for n, k, s in zip(clip, _PATCH, _PATCH_STRIDE, strict=True)
        )
        width = self.hidden
        for number, depth in enumerate(self.depths):
            for index in range(depth):
                begins = index == 0 and number > 0
                ends = index == depth - 1 and number < len(self.depths) - 1
                if begins if self.version == 2 else ends:
                    width *= 2
                layer = _Layer(
                    grid=grid,
                    native=native,
                    heads=2**number,
                    stride=2 if begins else 1,
                    key_stride=max(1, self.key_stride >> number),
                    width=width,
                )
                net.block(f"stage{number + 1}.{index + 1}", partial(self._layer, net, layer))
                grid = _pooled(grid, layer.stride)
                native = native[:1] + tuple(n // layer.stride for n in native[1:])
        net.block("head", partial(self._head, net), part="head")

    def _stem(self, net: Net, native: tuple[int, ...]) -> None:
        net.convolution(self.hidden, _PATCH, _PATCH_STRIDE, bias=True)
        net.tokens(1)
        frames, *sides = native
        shapes: list[tuple[int, ...]] = [(self.hidden,)]
        if self.version == 1:
            shapes += [(prod(sides), self.hidden), (frames, self.hidden), (self.hidden,)]
        net.learned("positions", *shapes)

    def _layer(self, net: Net, layer: _Layer) -> None:
        start, inputs = net.x, net.x.channels
        attended = layer.width if self.version == 2 else inputs
        net.layer_norm()
        normed = net.x
        self._attend(net, layer, attended)
        branch, net.x = net.x, start
        if inputs != attended:
            net.x = normed
            net.linear(attended)
        if layer.stride > 1:
            net.x = replace(net.x, sizes=layer.grid)
            net.pool("max", (1, 3, 3), (1, layer.stride, layer.stride), (0, 1, 1))
            net.tokens(1)
        net.plus(branch)
        start = net.x
        net.layer_norm()
        normed = net.x
        net.linear(4 * attended, split="column")
        net.activation("gelu")
        net.linear(layer.width, split="row")
        branch, net.x = net.x, start
        if attended != layer.width:
            net.x = normed
            net.linear(layer.width)
        net.plus(branch)

    def _attend(self, net: Net, layer: _Layer, width: int) -> None:
        heads, head_dim = layer.heads, width // layer.heads
        net.linear(3 * width, split="column", units=heads, runs=3)
        projected = net.x.name

        def pool(stride: int) -> None:
            net.depthwise(_KERNEL, (1, stride, stride))
            net.tokens(1)
            net.layer_norm()

        def pooled(stride: int) -> Map:
            net.x = Map(projected, width, layer.grid, split="columns")
            net.apart(heads, head_dim, partial(pool, stride))
            return net.x

        keys = _pooled(layer.grid, layer.key_stride)
        pooled(layer.key_stride)  # keys
        pooled(layer.key_stride)  # values
        queries = _pooled(layer.grid, layer.stride)
        query = Map(projected, width, (prod(queries) + 1,), split="columns")
        if layer.stride > 1 or self.version == 2:
            query = pooled(layer.stride)
        if self.version == 2:
            net.x = replace(query, sizes=queries)
            net.apart(heads, head_dim, partial(self._distances, net, layer, queries, keys))
        net.x = query
        net.attention(heads, head_dim, tokens=prod(queries) + 1, context=prod(keys) + 1)
        if self.version == 2:
            net.plus(query)
        net.linear(width, split="row")

    def _distances(self, net: Net, layer: _Layer, queries: Sizes, keys: Sizes) -> None:
        side = max(layer.native[1:])
        longest = max(side // layer.stride, side // layer.key_stride)
        entries = (2 * layer.native[0] - 1, 2 * longest - 1, 2 * longest - 1)
        names = ("time", "height", "width")
        for name, places, held, table in zip(names, queries, keys, entries, strict=True):
            net.distances(f"{name}_distances", places, held, table)

    def _head(self, net: Net) -> None:
        net.layer_norm()
        net.reshape(net.x.channels, ())  # the class token
        net.classify(self.classes)


def _pooled(grid: Sizes, stride: Number) -> Sizes:
    """Return the grid after pooling height and width."""
    frames, *sides = grid
    return (frames, *(strided(n, _KERNEL, stride, 2 * (_KERNEL // 2)) for n in sides))
