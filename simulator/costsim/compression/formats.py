"""Storage formats of matrices: what a tensor takes, to the byte.

A format says how many bits an element has and which scales, zero points and constants stand beside
the elements. A matrix is rows x columns = outputs x inputs, as PyTorch stores a linear layer; a
tensor of more dimensions is a stack of such, and a convolution's filter has the columns of all but
its first dimension.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import prod
from typing import Literal, TypeAlias

from costsim.algebra import Number, ceil_div
from costsim.architectures.formats import BITS, canonical
from costsim.errors import UnknownNameError, suggestion

Scope: TypeAlias = Literal["tensor", "channel", "group", "flat", "tile"]
"""What shares a scale: the tensor; a row; `group` columns of a row, which are padded to whole
groups; `group` elements of the flattened tensor; a tile of `group` columns and `rows`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """Elements of `bits`, and what is stored beside them.

    Attributes:
        name: as recipes call it.
        bits: of one element.
        kernels: formats of `costsim.hardware.kernels` that its products may run in, best first;
            none where no kernel is modelled.
        scope: what shares a scale.
        group: elements that share one, where the scope counts them.
        scale_bits: of one scale.
        zero_bits: of the zero point beside each scale.
        scales_per_constant: scales that are quantized together (double quantization), with one
            constant of 32 bits; 0 where scales are stored as they are.
        column_bits: stored for each column, such as the order in which GPTQ took them.
        tensor_bits: stored once a tensor.
        activation_bits: that activations are quantized to; None where they stay as they are.
        rows: of a tile, where they are not `group`.
        filters: whether tensors are filters of a convolution.
        floats: whether elements are floats.
        published: whether a release stores it so, and no recipe.
        source: where the layout is defined.
    """

    name: str
    bits: int
    kernels: tuple[str, ...]
    scope: Scope = "tensor"
    group: int = 1
    scale_bits: int = 0
    zero_bits: int = 0
    scales_per_constant: int = 0
    column_bits: int = 0
    tensor_bits: int = 0
    activation_bits: int | None = None
    rows: int | None = None
    filters: bool = False
    floats: bool = True
    published: bool = False
    source: str = ""

    def matrix(self, shape: tuple[Number, ...]) -> tuple[Number, Number]:
        """Return rows and columns of a tensor of `shape`."""
        if len(shape) < 2:
            return 1, prod(shape)
        if self.filters:
            return shape[0], prod(shape[1:])
        return prod(shape[:-1]), shape[-1]

    def scales(self, shape: tuple[Number, ...]) -> Number:
        """Return how many scales a tensor of `shape` has."""
        rows, columns = self.matrix(shape)
        if self.scope == "group":
            return rows * ceil_div(columns, self.group)
        if self.scope == "flat":
            return ceil_div(rows * columns, self.group)
        if self.scope == "tile":
            return ceil_div(rows, self.rows or self.group) * ceil_div(columns, self.group)
        return rows if self.scope == "channel" else 1

    def element_bytes(self, shape: tuple[Number, ...]) -> Number:
        """Return bytes of the elements alone, padding included."""
        rows, columns = self.matrix(shape)
        if self.scope == "group":
            columns = ceil_div(columns, self.group) * self.group
        return ceil_div(rows * columns * self.bits, 8)

    def scale_bytes(self, shape: tuple[Number, ...]) -> Number:
        """Return bytes of everything beside the elements."""
        scales, (_, columns) = self.scales(shape), self.matrix(shape)
        found = ceil_div(scales * self.scale_bits, 8) + ceil_div(scales * self.zero_bits, 8)
        if self.scales_per_constant:
            found = found + 4 * ceil_div(scales, self.scales_per_constant)
        return found + ceil_div(columns * self.column_bits + self.tensor_bits, 8)

    def stored_bytes(self, shape: tuple[Number, ...]) -> Number:
        """Return all bytes of a tensor of `shape` in device memory."""
        return self.element_bytes(shape) + self.scale_bytes(shape)

    def disk_bytes(self, shape: tuple[Number, ...]) -> Number:
        """Return all bytes of a tensor of `shape` in a file, the file's own structure apart."""
        return self.stored_bytes(shape)

    @property
    def overhead_bits(self) -> float:
        """Bits of scales and zeros for each element, as a tensor grows and nothing is padded."""
        if self.scope in ("tensor", "channel"):
            return 0.0
        share = self.group * (self.rows or self.group) if self.scope == "tile" else self.group
        constants = 32 / self.scales_per_constant if self.scales_per_constant else 0.0
        return (self.scale_bits + self.zero_bits + constants) / share


def plain(dtype: str) -> Format:
    """Return the format of elements of `dtype` alone.

    Raises:
        UnknownNameError: for a number format that is not known.
    """
    name = canonical(dtype)
    return Format(name=name, bits=BITS[name], kernels=(name,))


def integer(bits: int, group: int, *, zeros: bool = False, name: str = "") -> Format:
    """Return weight-only integers in groups along the inputs, scales in fp16, zeros packed."""
    return Format(
        name=name or f"int{bits}-g{group}" + ("-zero" if zeros else ""),
        bits=bits,
        kernels=("w8a16",) if bits == 8 else ("w4a16",),
        scope="group",
        group=group,
        scale_bits=16,
        zero_bits=bits if zeros else 0,
    )


_OCP = "OCP Microscaling Formats (MX) specification v1.0: blocks of 32, scales of 8 bits (E8M0)"
_NVFP4 = "NVIDIA nvfp4: blocks of 16, scales in fp8 (E4M3), one fp32 scale a tensor"
_NF4 = "Dettmers et al. 2023, QLoRA (arXiv 2305.14314): blocks of 64, scales in fp32"

FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        # Products in 8 bits: activations are quantized on the way.
        Format(
            name="int8",
            bits=8,
            kernels=("int8", "w8a16"),
            scope="channel",
            scale_bits=32,
            activation_bits=8,
            source="Xiao et al. 2022, SmoothQuant (arXiv 2211.10438): a scale a row, W8A8",
        ),
        Format(
            name="int8-tensor",
            bits=8,
            kernels=("int8", "w8a16"),
            scale_bits=64,  # a double
            zero_bits=64,  # an int64
            activation_bits=8,
            source="torch.ao dynamic quantization: one scale and zero point a tensor",
        ),
        Format(
            name="fp8",
            bits=8,
            kernels=("fp8", "w8a16"),
            scale_bits=32,
            tensor_bits=32,  # the scale of its activations
            activation_bits=8,
            source="Micikevicius et al. 2022 (arXiv 2209.05433): E4M3, a scale a tensor",
        ),
        Format(
            name="fp8-block",
            bits=8,
            kernels=("fp8_block", "w8a16"),
            scope="tile",
            group=128,
            scale_bits=32,
            activation_bits=8,
            source="DeepSeek-V3 technical report (arXiv 2412.19437): 128 x 128 tiles",
        ),
        # Weights alone: products run in 16 bits.
        Format(
            name="int8-weight-only",
            bits=8,
            kernels=("w8a16",),
            scope="channel",
            scale_bits=16,
            source="a scale in fp16 a row",
        ),
        replace(
            integer(4, 128, zeros=True, name="awq-int4"),
            source="Lin et al. 2023, AWQ (arXiv 2306.00978): groups of 128, zeros of 4 bits",
        ),
        replace(
            integer(4, 128, zeros=True, name="gptq-int4"),
            column_bits=32,
            source="Frantar et al. 2022, GPTQ (arXiv 2210.17323); files hold each input's group",
        ),
        replace(
            integer(3, 128, zeros=True, name="gptq-int3"),
            column_bits=32,
            source="Frantar et al. 2022, GPTQ (arXiv 2210.17323)",
        ),
        Format(
            name="nf4",
            bits=4,
            kernels=("w4a16",),
            scope="flat",
            group=64,
            scale_bits=32,
            source=_NF4,
        ),
        Format(
            name="nf4-double",
            bits=4,
            kernels=("w4a16",),
            scope="flat",
            group=64,
            scale_bits=8,
            scales_per_constant=256,
            tensor_bits=32,  # the mean that is taken off the scales
            source=f"{_NF4} quantized to 8 bits, 256 at a time",
        ),
        # Blocks with small scales, and the products of them.
        Format(
            name="mxfp8",
            bits=8,
            kernels=("mxfp8", "w8a16"),
            scope="group",
            group=32,
            scale_bits=8,
            activation_bits=8,
            source=_OCP,
        ),
        Format(
            name="mxfp6",
            bits=6,
            kernels=("w8a16",),  # no kernel of 6 bits is measured: timed as one of 8
            scope="group",
            group=32,
            scale_bits=8,
            source=_OCP,
        ),
        Format(
            name="mxfp4",
            bits=4,
            kernels=("mxfp4", "w4a16"),
            scope="group",
            group=32,
            scale_bits=8,
            activation_bits=4,
            source=_OCP,
        ),
        Format(
            name="nvfp4",
            bits=4,
            kernels=("nvfp4", "w4a16"),
            scope="group",
            group=16,
            scale_bits=8,
            tensor_bits=64,  # of weights and of activations
            activation_bits=4,
            source=_NVFP4,
        ),
        Format(
            name="mxfp4-weight-only",
            bits=4,
            kernels=("w4a16",),
            scope="group",
            group=32,
            scale_bits=8,
            source=_OCP,
        ),
        Format(
            name="int4-w4a4",
            bits=4,
            kernels=(),  # none is modelled
            scope="channel",
            scale_bits=16,
            activation_bits=4,
            source="activations in 4-bit integers too",
        ),
    )
}
"""Formats by name; `plain` dtypes and `int<bits>-g<group>[-zero]` are known besides."""

_INTEGER = re.compile(r"int([2-8])-g(?:roup)?(\d+)(-zero)?")


def format_named(name: str) -> Format:
    """Return the storage format called `name`.

    Raises:
        UnknownNameError: where there is none of that name.
    """
    known = name.strip().lower().replace("_", "-")
    if known in FORMATS:
        return FORMATS[known]
    integers = _INTEGER.fullmatch(known)
    if integers and int(integers[2]):
        return integer(int(integers[1]), int(integers[2]), zeros=bool(integers[3]))
    try:
        return plain(name.strip().lower())
    except UnknownNameError:
        hint = suggestion(known, (*FORMATS, *BITS, "int4-g128", "int8-g128"))
        raise UnknownNameError(f"unknown storage format `{name}`", hint=hint) from None
