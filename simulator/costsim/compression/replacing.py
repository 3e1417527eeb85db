"""Passes that replace operators: thin factors, separable convolutions, layers that do less."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from costsim.algebra import Number, ceil_div
from costsim.architectures.block import Block
from costsim.architectures.operators import Attention, Convolution, Linear, Operator
from costsim.architectures.operators.wrapping import Reused, Wrapped
from costsim.architectures.tensors import Activation
from costsim.compression.description import BlockPass, mapped
from costsim.compression.selection import LAYERS, Selection
from costsim.errors import SpecError


@dataclass(frozen=True, slots=True)
class Factorize(BlockPass):
    """Write matrices as products of two thin ones: (inputs, rank) and (rank, outputs).

    A factor pays where rank < inputs·outputs / (inputs + outputs); elsewhere it is an error.
    """

    rank: int
    selection: Selection = LAYERS

    def blocks(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """Return `blocks` with factors."""
        return mapped(blocks, self._one)

    def _one(self, operator: Operator, block: Block) -> tuple[Operator, ...]:
        if not isinstance(operator, Linear) or not self.selection.holds(operator, block):
            return (operator,)
        if not operator.separate or len(operator.columns) == 1:
            return self._factors(operator)
        # Projections that are matrices of their own have factors of their own.
        parts = (
            replace(operator, name=f"{operator.name}.{place}", columns=(run,))
            for place, run in enumerate(operator.columns)
        )
        return tuple(factor for part in parts for factor in self._factors(part))

    def _factors(self, operator: Linear) -> tuple[Operator, Operator]:
        inputs, outputs = operator.inputs, operator.outputs
        if self.rank * (inputs + outputs) >= inputs * outputs:
            raise SpecError(
                f"rank {self.rank} saves nothing of `{operator.name}`, a matrix of "
                f"{inputs} x {outputs}",
                hint=f"use a rank below {inputs * outputs // (inputs + outputs)}",
            )
        thin = f"{operator.name}.factor"
        first = Linear.of(
            thin, operator.source, operator.rows, inputs, self.rank, leaf=operator.leaf
        )
        second = replace(operator, source=thin, inputs=self.rank, leaf=False)
        # What is divided is the wide side; every device has the thin one whole.
        if operator.split == "row":
            first = replace(first, split="row")
            second = replace(second, split=None)
        return (first, second)


@dataclass(frozen=True, slots=True)
class Separate(BlockPass):
    """Depthwise and 1×1 convolutions in the place of ordinary ones with a window.

    Howard et al. 2017 (arXiv 1704.04861): 1/outputs + 1/window of the operations. Convolutions of
    the image itself, with its few channels, stay.
    """

    def blocks(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """Return `blocks` with separable convolutions."""
        return mapped(blocks, self._one)

    def _one(self, operator: Operator, block: Block) -> tuple[Operator, ...]:
        if not isinstance(operator, Convolution) or operator.transposed or operator.leaf:
            return (operator,)
        if operator.groups != 1 or all(side == 1 for side in operator.kernel):
            return (operator,)
        deep = f"{operator.name}.depthwise"
        depthwise = replace(
            operator,
            name=deep,
            outputs=operator.inputs,
            groups=operator.inputs,
            bias=False,
            split=None,
        )
        ones = tuple(1 for _ in operator.kernel)
        pointwise = replace(
            operator,
            source=deep,
            sizes=operator.output_sizes,
            kernel=ones,
            stride=ones,
            padded=tuple(0 for _ in ones),
            dilation=ones,
        )
        return (depthwise, pointwise)


@dataclass(frozen=True, slots=True)
class ShareLayers(BlockPass):
    """Let every `times` layers of a run have the weights of one (ALBERT, arXiv 1909.11942)."""

    times: int

    def blocks(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """Return `blocks` with layers that hold weights, and layers that use them again."""
        return tuple(part for block in blocks for part in self._parts(block))

    def _parts(self, block: Block) -> Iterator[Block]:
        owners = ceil_div(block.count, self.times) if block.part == "layer" else block.count
        yield replace(block, count=owners)
        if owners != block.count:
            again = tuple(Reused.around(operator) for operator in block.operators)
            yield replace(
                block, name=f"{block.name}.again", operators=again, count=block.count - owners
            )


@dataclass(frozen=True, slots=True)
class SkipLayers(BlockPass):
    """Run a mean of 1 - `ratio` of the layers: early exit, or layers skipped by a token's need.

    All weights are there. Layers left out do no work, and keep what they cache: positions that
    later tokens attend to need their keys.
    """

    ratio: float

    def blocks(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """Return `blocks` with the last layers idle."""
        depth = sum(block.count for block in blocks if block.part == "layer")
        idle = round(depth * self.ratio)
        if not depth or idle >= depth:
            raise SpecError(
                f"skipping {self.ratio:.0%} of {depth} layers leaves none to run",
                hint="use a smaller ratio",
            )
        found: list[Block] = []
        for block in reversed(blocks):
            taken = min(idle, block.count) if block.part == "layer" else 0
            idle -= taken
            if taken:
                found.append(replace(block.idle(), name=f"{block.name}.skipped", count=taken))
            if taken < block.count:
                found.append(replace(block, count=block.count - taken))
        return tuple(reversed(found))


@dataclass(frozen=True, slots=True)
class MergeTokens(BlockPass):
    """Merge a `ratio` of the tokens that are left after each layer (ToMe, arXiv 2210.09461).

    For encoders: a decoder that generates needs every position. Tokens merge between attention and
    the feed-forward network, which is taken at the end of the layer.
    """

    ratio: float

    def blocks(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """Return `blocks` layer by layer, each with fewer tokens than the one before."""
        share, found = 1.0, list[Block]()
        for block in blocks:
            if block.part != "layer":
                found.append(block if share == 1.0 else thinned(block, share))
                continue
            for layer in range(int(block.count)):
                each = replace(block, name=f"{block.name}.{layer}", count=1)
                found.append(each if share == 1.0 else thinned(each, share))
                share *= 1 - self.ratio
        return tuple(found)


def thinned(block: Block, share: float) -> Block:
    """Return a block that works on a `share` of the positions."""

    def part(size: Number) -> Number:
        return max(1, round(size * share))

    def thin(operator: Operator) -> Operator:
        if isinstance(operator, Wrapped):
            return replace(operator, inner=thin(operator.inner))
        if isinstance(operator, Attention):
            if operator.causal:
                raise SpecError(
                    "tokens cannot be merged where later ones attend to each of them",
                    hint="merge tokens of encoders, such as of images",
                )
            tokens, context = part(operator.tokens), part(operator.context)
            return replace(operator, tokens=tokens, context=context)
        if any(field.name == "rows" for field in fields(operator)):
            return replace(operator, rows=part(getattr(operator, "rows")))  # noqa: B009
        return operator

    source = block.source
    return replace(
        block,
        operators=tuple(thin(operator) for operator in block.operators),
        source=Activation(source.name, part(source.elements), source.storage),
    )
