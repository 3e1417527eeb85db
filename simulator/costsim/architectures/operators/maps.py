"""Operators on feature maps: normalization of channels, pooling, learned tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from costsim.algebra import Number, exact_div
from costsim.architectures.operators.base import Operator
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, Gemm, Stream, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelNorm(Operator):
    """Normalization of maps by statistics of a channel (`batch`) or of a group of them (`group`).

    Running statistics are buffers, no parameters. With them at hand, batch normalization is a
    multiplication and an addition, which inference can fold into the convolution before it.
    """

    source: str
    batch: Number
    positions: Number  # of one map
    channels: Number
    kind: Literal["batch", "group"] = "batch"
    groups: Number = 1  # of one map, for `group`
    weight: bool = True
    bias: bool = True
    split: Literal["columns"] | None = None

    @property
    def elements(self) -> Number:
        return self.batch * self.positions * self.channels

    def weights(self) -> tuple[Weight, ...]:
        held = (("weight", self.weight), ("bias", self.bias))
        return tuple(
            Weight(f"{self.name}.{name}", self.channels, matrix=False) for name, has in held if has
        )

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        if direction == "backward":  # x and dy are read for the sums over a channel, then for dx
            return (Stream(5 * self.elements, 2),)
        if self.kind == "batch" and execution.batch_norm == "folded":
            return ()
        if self.kind == "batch" and execution.batch_norm == "running":
            return (Stream(2 * self.elements),)
        return (Stream(3 * self.elements, 2),)  # x is read for its statistics, then for y

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        sets = self.channels if self.kind == "batch" else self.batch * self.groups
        cpu = execution.style == "eager" and execution.device == "cpu"
        statistics = Activation(
            f"{self.name}.statistics", 2 * sets, "compute" if cpu else "float32"
        )  # mean and 1/σ
        return (Activation(self.source, self.elements), statistics)

    def shard(self, shard: Shard) -> ChannelNorm:
        if self.split is None:
            return self
        return replace(
            self,
            channels=exact_div(self.channels, shard.tp),
            groups=self.groups if self.kind == "batch" else exact_div(self.groups, shard.tp),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling(Operator):
    """The largest or the mean of each window of a map; of the whole map where `whole`."""

    source: str
    batch: Number
    sizes: tuple[Number, ...]
    output_sizes: tuple[Number, ...]
    channels: Number
    kind: Literal["max", "mean"] = "max"
    whole: bool = False
    split: Literal["columns"] | None = None

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        read, written = prod(self.sizes), prod(self.output_sizes)
        # Backward reads the gradient (and where the largest stood) and writes that of the input.
        return (Stream(self.batch * self.channels * (read + written)),)

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        maps = self.batch * self.channels
        read = Activation(self.source, maps * prod(self.sizes))
        if self.kind == "mean":  # eager PyTorch keeps the input of a windowed mean, for its shape
            return () if execution.style == "fused" or self.whole else (read,)
        places = Activation(f"{self.name}.places", maps * prod(self.output_sizes), "index")
        return (read, places)

    def shard(self, shard: Shard) -> Pooling:
        if self.split is None:
            return self
        return replace(self, channels=exact_div(self.channels, shard.tp))


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned(Operator):
    """A learned tensor that joins activations: positions, a class token, layer scales, biases.

    It is added to or multiplied with `elements` values, or only placed before them (0).
    """

    shapes: tuple[tuple[Number, ...], ...]
    elements: Number = 0
    multiplies: str | None = None  # name of the activation, where the gradient needs it
    lookup: bool = False  # a table of which rows are read
    split: Literal["heads"] | None = None  # the last dimension divides with attention's heads

    def weights(self) -> tuple[Weight, ...]:
        held = sum(prod(shape) for shape in self.shapes)
        return (Weight(self.name, held, matrix=False, lookup=self.lookup, shapes=self.shapes),)

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        passes = 2 if direction == "forward" else 3
        if type(self.elements) is int and not self.elements:  # only placed
            return ()
        return (Stream(passes * self.elements),)

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        if self.multiplies is None:
            return ()
        return (Activation(self.multiplies, self.elements),)

    def shard(self, shard: Shard) -> Learned:
        if self.split is None:
            return self
        shapes = tuple((*shape[:-1], exact_div(shape[-1], shard.tp)) for shape in self.shapes)
        return replace(self, shapes=shapes, elements=exact_div(self.elements, shard.tp))


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances(Operator):
    """Scores by distance along one dimension: queries times a learned vector for each distance.

    The queries of each of `places` along the dimension, `rows` of them, meet the vectors of their
    distances to `keys` places, picked from a table of `entries`.
    """

    source: str
    rows: Number
    dim: Number
    keys: Number
    places: Number
    entries: Number

    def weights(self) -> tuple[Weight, ...]:
        shape = (self.entries, self.dim)
        return (Weight(f"{self.name}.table", prod(shape), matrix=False, shapes=(shape,)),)

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        m, n, k = self.rows, self.keys, self.dim
        if direction == "forward":
            return (Gemm(m, n, k, self.places, weights=False),)
        return (
            Gemm(m, k, n, self.places, weights=False),  # 1. gradient of the queries
            Gemm(k, n, m, self.places, weights=False),  # 2. of the vectors
        )

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        return (
            Activation(self.source, self.places * self.rows * self.dim),
            Activation(f"{self.name}.vectors", self.places * self.keys * self.dim),
        )

    def shard(self, shard: Shard) -> Distances:
        return replace(self, rows=exact_div(self.rows, shard.tp))
