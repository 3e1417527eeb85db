"""Convolutions: a window of inputs, times a weight, at every output position.

One operator for one, two or three dimensions, ordinary, grouped, depthwise and transposed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Literal, TypeAlias

from costsim.algebra import Number, exact_div
from costsim.architectures.operators import eager, eager_work
from costsim.architectures.operators.base import Collective, Operator, Role
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Convolved, Direction, Work
from costsim.architectures.workload import FUSED, Execution, Shard

Sizes: TypeAlias = tuple[Number, ...]
"""One number a dimension: (length,), (height, width) or (frames, height, width)."""


def strided(size: Number, kernel: Number, stride: Number, padded: Number) -> Number:
    """Return how many windows of `kernel`, `stride` apart, fit in `size` + `padded` positions."""
    return (size + padded - kernel) // stride + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution(Operator):
    """Convolution of `batch` maps of `sizes` positions and `inputs` channels into `outputs`.

    `padded` counts the positions added to each dimension, at both ends together (of a transposed
    convolution: those taken away). `groups` divide the channels, which see only their own group; as
    many groups as channels is a depthwise convolution. A `leaf` reads what needs no gradient, such
    as the image. Tensor parallelism divides by `column` (output channels), by `row` (input
    channels, partial sums reduced afterwards), by `channels` (groups, each on one device) or not.
    """

    source: str
    batch: Number
    sizes: Sizes
    inputs: Number
    outputs: Number
    kernel: Sizes
    stride: Sizes
    padded: Sizes
    dilation: Sizes
    groups: Number = 1
    bias: bool = False
    transposed: bool = False
    leaf: bool = False
    split: Literal["column", "row", "channels"] | None = None

    @property
    def role(self) -> Role:
        return "matrix"

    @property
    def output_sizes(self) -> Sizes:
        """Positions of the result in each dimension."""
        dimensions = zip(
            self.sizes, self.kernel, self.stride, self.padded, self.dilation, strict=True
        )
        if self.transposed:
            return tuple((n - 1) * s - p + d * (k - 1) + 1 for n, k, s, p, d in dimensions)
        return tuple(strided(n, d * (k - 1) + 1, s, p) for n, k, s, p, d in dimensions)

    @property
    def positions(self) -> Number:
        """Positions that it reads, of all maps."""
        return self.batch * prod(self.sizes)

    @property
    def output_positions(self) -> Number:
        """Positions that it writes, of all maps."""
        return self.batch * prod(self.output_sizes)

    def weights(self) -> tuple[Weight, ...]:
        group = exact_div(self.inputs, self.groups)
        shape = (self.outputs, group, *self.kernel)
        if self.transposed:
            shape = (self.inputs, exact_div(self.outputs, self.groups), *self.kernel)
        kernel = Weight(f"{self.name}.weight", prod(shape), shapes=(shape,))
        if not self.bias:
            return (kernel,)
        return (kernel, Weight(f"{self.name}.bias", self.outputs, matrix=False))

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        # Seen from either end the products are the same: at each of `at` positions (outputs; inputs
        # of a transposed convolution), every weight once.
        at, over = self.output_positions, self.positions
        inputs, outputs = self.inputs, self.outputs
        if self.transposed:
            at, over, inputs, outputs = over, at, outputs, inputs
        rows, columns = exact_div(outputs, self.groups), exact_div(inputs, self.groups)
        taps = prod(self.kernel)
        multiply_adds = at * outputs * columns * taps
        elements = at * outputs + over * inputs + outputs * columns * taps

        added: tuple[Work, ...] = ()
        if execution.style == "eager":
            added = eager_work.convolution(self, direction, execution)

        def convolved(m: Number, n: Number, k: Number, read: Number) -> Convolved:
            return Convolved(m, n, k, self.groups, multiply_adds, elements, read)

        # 1. Windows of `over` gathered at every one of `at`.
        gathered = convolved(at, rows, columns * taps, over * inputs)
        # 2. The reverse: with a stride, only some of the weights meet at each of `over`.
        meeting = exact_div(rows * taps * at, over)
        scattered = convolved(over, columns, meeting, at * outputs)
        if direction == "forward":
            return (*added, scattered if self.transposed else gathered)
        # 3. The gradient of the weight, a sum over positions.
        weight = replace(convolved(rows, columns * taps, at, at * outputs), weights=False)
        if self.leaf:
            return (*added, weight)
        return (*added, gathered if self.transposed else scattered, weight)

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        if execution.style == "eager":
            return eager.convolution(self, execution)
        return (Activation(self.source, self.positions * self.inputs),)

    def collectives(self) -> tuple[Collective, ...]:
        if self.split == "column":
            return (Collective(self.source, self.positions * self.inputs, "entry"),)
        if self.split == "row":
            return (Collective(self.name, self.output_positions * self.outputs, "exit"),)
        return ()

    def shard(self, shard: Shard) -> Convolution:
        inputs, outputs = exact_div(self.inputs, shard.tp), exact_div(self.outputs, shard.tp)
        if self.split == "column":
            return replace(self, outputs=outputs)
        if self.split == "row":
            return replace(self, inputs=inputs)
        if self.split == "channels":
            groups = exact_div(self.groups, shard.tp)
            return replace(self, inputs=inputs, outputs=outputs, groups=groups)
        return self
