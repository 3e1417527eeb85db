"""Sparse storage: the values that a mask leaves, and what says where they were."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

from costsim.algebra import Number, ceil_div
from costsim.compression.formats import Format

Layout: TypeAlias = Literal["dense", "bitmap", "csr", "coo"]
"""How unstructured zeros are filed: not at all, by a bit an element, or by indices."""

_ROW_POINTER_BYTES = 4
_CSR_INDEX_BYTES = 4  # int32 column of each value
_COO_INDEX_BYTES = 16  # int64 row and column of each value

# 2:4 kernels take 16- and 8-bit values; of others the zeros are stored and multiplied.
_SPARSE_KERNELS = {
    "bf16": "bf16_2:4",
    "fp16": "bf16_2:4",
    "fp8": "fp8_2:4",
    "fp8_block": "fp8_2:4",
    "int8": "int8_2:4",
}


def zeros_of(elements: int, ratio: float) -> int:
    """Return how many of `elements` a threshold takes, rounded as torch.nn.utils.prune does."""
    return round(ratio * elements)


@dataclass(frozen=True, slots=True)
class Unstructured:
    """A `ratio` of zeros anywhere. No kernel skips them, so that memory holds them as values."""

    values: Format
    ratio: float
    layout: Layout = "bitmap"

    @property
    def kernels(self) -> tuple[str, ...]:
        return self.values.kernels

    def kept(self, shape: tuple[int, ...]) -> int:
        """Return how many values of a tensor stay."""
        elements = prod(shape)
        return elements - zeros_of(elements, self.ratio)

    def stored_bytes(self, shape: tuple[Number, ...]) -> Number:
        """Return all bytes of a tensor of `shape` in device memory."""
        return self.values.stored_bytes(shape)

    def disk_bytes(self, shape: tuple[int, ...]) -> Number:
        """Return all bytes of a tensor of `shape` in a file."""
        if self.layout == "dense":
            return self.values.disk_bytes(shape)
        kept, (rows, _) = self.kept(shape), self.values.matrix(shape)
        found = ceil_div(kept * self.values.bits, 8) + self.values.scale_bytes(shape)
        if self.layout == "bitmap":
            return found + ceil_div(prod(shape), 8)
        if self.layout == "csr":
            return found + kept * _CSR_INDEX_BYTES + (rows + 1) * _ROW_POINTER_BYTES
        return found + kept * _COO_INDEX_BYTES


@dataclass(frozen=True, slots=True)
class Pattern:
    """`kept` of every `of` neighbours along the inputs, each with the index of its place.

    An index takes as many bits as tell `of` places apart: 2 of 4 values in bf16 are 4 bytes and 4
    bits where 8 bytes were. Hardware multiplies 2 of 4 only; any other pattern is held densely.
    """

    values: Format
    kept: int = 2
    of: int = 4

    @property
    def native(self) -> bool:
        """Whether there are matrix units that multiply the pattern."""
        return (self.kept, self.of) == (2, 4) and bool(
            set(self.values.kernels[:1]) & set(_SPARSE_KERNELS)
        )

    @property
    def kernels(self) -> tuple[str, ...]:
        return (_SPARSE_KERNELS[self.values.kernels[0]],) if self.native else self.values.kernels

    def index_bytes(self, shape: tuple[Number, ...]) -> Number:
        """Return bytes of the indices."""
        return ceil_div(self.kept_values(shape) * (self.of - 1).bit_length(), 8)

    def value_bytes(self, shape: tuple[Number, ...]) -> Number:
        """Return bytes of the values that stay."""
        return ceil_div(self.kept_values(shape) * self.values.bits, 8)

    def kept_values(self, shape: tuple[Number, ...]) -> Number:
        """Return how many values stay; rows are padded to whole runs of `of`."""
        rows, columns = self.values.matrix(shape)
        return rows * ceil_div(columns, self.of) * self.kept

    def stored_bytes(self, shape: tuple[Number, ...]) -> Number:
        """Return all bytes of a tensor of `shape` in device memory."""
        return self.disk_bytes(shape) if self.native else self.values.stored_bytes(shape)

    def disk_bytes(self, shape: tuple[Number, ...]) -> Number:
        """Return all bytes of a tensor of `shape` in a file."""
        packed = self.value_bytes(shape) + self.index_bytes(shape)
        return packed + self.values.scale_bytes(shape)


Packing: TypeAlias = Format | Unstructured | Pattern
