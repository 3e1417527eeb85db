"""Passes that change how matrices are stored: masks, quantization, and the cache's format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import cast

from costsim.algebra import Number, exact_div
from costsim.architectures.block import Block
from costsim.architectures.operators import Linear, Operator
from costsim.compression.description import BlockPass, Cache, mapped
from costsim.compression.formats import Format
from costsim.compression.selection import EVERYTHING, Selection, is_convolution, unwrapped
from costsim.compression.sparsity import Layout, Packing, Pattern, Unstructured
from costsim.errors import SpecError


@dataclass(frozen=True, slots=True)
class Quantize(BlockPass):
    """Store the matrices of `selection` in `form`; of sparse ones, the values that are left.

    A matrix that would take more than with `wide_bits` an element stays as it is: one so narrow
    that scales and padding outweigh its elements.
    """

    form: Format
    selection: Selection = EVERYTHING
    wide_bits: int = 16

    def blocks(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """Return `blocks` with packed matrices."""
        return mapped(blocks, self._one)

    def _one(self, operator: Operator, block: Block) -> tuple[Operator, ...]:
        if not self.selection.holds(operator, block):
            return (operator,)
        operator = untied(operator) if self.selection.untied else operator
        held, form = cast("Packing | None", operator.packing), self.form
        if is_convolution(unwrapped(operator)):
            form = replace(form, filters=True)
        if isinstance(held, Format) and held.scale_bits and not held.published:
            raise SpecError(
                f"`{operator.name}` is quantized to {held.name} already, and would be to "
                f"{form.name} again",
                hint="take one of the two, or name different matrices for each",
            )
        packing = replace(held, values=form) if isinstance(held, Unstructured | Pattern) else form
        if takes_more(operator, packing, self.wide_bits):
            return (operator,)
        return (replace(operator, packing=packing),)


@dataclass(frozen=True, slots=True)
class Mask(BlockPass):
    """Set weights of `selection` to zero: a `ratio` of each matrix, or all but `kept` of `of`."""

    values: Format
    ratio: float | None = None
    layout: Layout = "bitmap"
    kept: int = 2
    of: int = 4
    selection: Selection = EVERYTHING

    def blocks(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """Return `blocks` with masked matrices."""
        return mapped(blocks, self._one)

    def _one(self, operator: Operator, block: Block) -> tuple[Operator, ...]:
        if not self.selection.holds(operator, block):
            return (operator,)
        operator = untied(operator) if self.selection.untied else operator
        values = self.values
        if is_convolution(unwrapped(operator)):
            values = replace(values, filters=True)
        packing: Packing = (
            Pattern(values, self.kept, self.of)
            if self.ratio is None
            else Unstructured(values, self.ratio, self.layout)
        )
        if takes_more(operator, packing, self.values.bits):
            return (operator,)
        return (replace(operator, packing=packing),)


@dataclass(frozen=True, slots=True)
class QuantizeCache:
    """Cache keys and values in `bits`, with `scale_bits` of scales and zeros for `group` of them.

    Recurrent states and other tensors in fp32 stay as they are.
    """

    bits: int
    scale_bits: int = 0
    group: int = 1

    def blocks(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """Return `blocks`."""
        return blocks

    def cache(self, cached: Cache) -> Cache:
        """Return cached tensors with their bits."""
        bits: Number = self.bits
        if self.scale_bits:
            bits = self.bits + exact_div(self.scale_bits, self.group)
        return tuple(
            (tensor if tensor.storage == "float32" else replace(tensor, bits=bits), count)
            for tensor, count in cached
        )


def takes_more(operator: Operator, packing: Packing, wide_bits: int) -> bool:
    """Return whether the matrices of `operator` take more memory packed than they did."""
    shapes = [
        shape
        for weight in operator.weights()
        if weight.matrix and not weight.lookup
        for shape in weight.shapes
    ]
    if not all(type(size) is int for shape in shapes for size in shape):
        return False  # symbols: a formula is of models of any size
    packed = sum(packing.stored_bytes(shape) for shape in shapes)
    return 8 * packed > wide_bits * sum(prod(shape) for shape in shapes)


def untied(operator: Operator) -> Operator:
    """Return an operator whose matrix shares a table's storage with one of its own."""
    if isinstance(operator, Linear) and operator.tied_to is not None:
        return replace(operator, tied_to=None)
    return operator
