"""The arithmetic of compression in numpy: what each format and mask makes of real numbers.

Reference code for formulas that the other modules only count: rounding to integers, small floats
and codebooks, masks by magnitude and by pattern, and how far the result is from the original.
Numbers are float32, as frameworks round them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from costsim.compression.sparsity import zeros_of

Array: TypeAlias = NDArray[np.floating[Any]]
Integers: TypeAlias = NDArray[np.int32]
Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Grid:
    """Integers from `low` to `high`; x = scale · (q - zero), scales broadcast over x."""

    scale: Array
    zero: Integers
    low: int
    high: int

    def quantized(self, x: Array) -> Integers:
        """Return the integers nearest to `x`, ties to even."""
        inverse = np.float32(1) / self.scale
        q = np.rint(x.astype(np.float32) * inverse) + self.zero
        return np.clip(q, self.low, self.high).astype(np.int32)

    def restored(self, q: Integers) -> Array:
        """Return what integers stand for."""
        return ((q - self.zero) * self.scale).astype(np.float32)

    def rounded(self, x: Array) -> Array:
        """Return `x` after it was quantized and restored (fake quantization)."""
        return self.restored(self.quantized(x))


def affine(x: Array, bits: int, axis: int | None = None) -> Grid:
    """Return the grid of unsigned integers that spans x_min to x_max, and 0 exactly.

    s = (x_max - x_min) / (2^bits - 1), z = round(-x_min / s); one for each index of `axis`, or one.
    """
    low, high = _extremes(x, axis)
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    steps = 2**bits - 1
    scale = _positive((high - low) / np.float32(steps))
    zero = np.clip(np.rint(-low / scale), 0, steps).astype(np.int32)
    return Grid(scale, zero, 0, steps)


def symmetric(x: Array, bits: int, axis: int | None = None) -> Grid:
    """Return the grid of signed integers around 0: s = max|x| / (2^(bits-1) - 1), z = 0."""
    low, high = _extremes(x, axis)
    top = 2 ** (bits - 1) - 1
    scale = _positive(np.maximum(-low, high) / np.float32(top))
    return Grid(scale, np.zeros_like(scale, np.int32), -top - 1, top)


def grouped(x: Array, group: int) -> Array:
    """Return rows of `x` in groups of columns, padded with zeros: (rows, groups, group)."""
    rows, columns = x.shape
    padded = np.zeros((rows, -(-columns // group) * group), np.float32)
    padded[:, :columns] = x
    return padded.reshape(rows, -1, group)


def round_in_groups(x: Array, bits: int, group: int, *, zeros: bool = False) -> Array:
    """Return a matrix rounded to integers in groups along its rows."""
    pieces = grouped(x, group)
    flat = pieces.reshape(-1, group)
    grid = affine(flat, bits, 0) if zeros else symmetric(flat, bits, 0)
    return grid.rounded(flat).reshape(len(x), -1)[:, : x.shape[1]]


def pack_int4(q: Integers) -> NDArray[np.uint8]:
    """Return integers of -8 to 7 (or 0 to 15), two in a byte, the first in the low half."""
    nibbles = (q.reshape(-1) & 0xF).astype(np.uint8)
    if len(nibbles) % 2:
        nibbles = np.append(nibbles, np.uint8(0))
    return (nibbles[0::2] | (nibbles[1::2] << 4)).astype(np.uint8)


# Quantiles of a normal distribution over [-1, 1], zero among them (arXiv 2305.14314, appendix E).
NF4_LEVELS = np.array(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ],
    np.float32,
)


def round_to_levels(x: Array, levels: Array, block: int = 64) -> Array:
    """Return `x` in blocks of the flattened tensor, each at the levels nearest to x / max|x|."""
    flat = x.reshape(-1).astype(np.float32)
    padded = np.zeros(-(-flat.size // block) * block, np.float32)
    padded[: flat.size] = flat
    blocks = padded.reshape(-1, block)
    scale = _positive(np.abs(blocks).max(1, keepdims=True))
    middles = (levels[1:] + levels[:-1]) / 2
    nearest = levels[np.searchsorted(middles, blocks / scale)]
    return (nearest * scale).reshape(-1)[: flat.size].reshape(x.shape)


@dataclass(frozen=True, slots=True)
class SmallFloat:
    """Floats of a sign, `exponent` and `mantissa` bits; beyond `largest` they saturate."""

    exponent: int
    mantissa: int
    largest: float

    def rounded(self, x: Array) -> Array:
        """Return the nearest of these floats, ties to even."""
        bias = 2 ** (self.exponent - 1) - 1
        _, power = np.frexp(np.abs(x.astype(np.float64)))
        # Below the smallest normal number steps stay as they are (subnormal numbers).
        power = np.maximum(power - 1, 1 - bias) - self.mantissa
        step = np.ldexp(1.0, power)
        found = np.rint(x.astype(np.float64) / step) * step
        return np.clip(found, -self.largest, self.largest).astype(np.float32)


E4M3 = SmallFloat(4, 3, 448.0)
E5M2 = SmallFloat(5, 2, 57344.0)
E2M1 = SmallFloat(2, 1, 6.0)
"""fp8 of two kinds (arXiv 2209.05433) and fp4."""


def round_to_microscaled(x: Array, form: SmallFloat = E2M1, block: int = 32) -> Array:
    """Return rows of `x` in blocks with a power of two each (OCP MX specification, section 6.3)."""
    pieces = grouped(x, block)
    largest = np.abs(pieces).max(2, keepdims=True)
    exponent = np.floor(np.log2(_positive(largest))) - math.floor(math.log2(form.largest))
    scale = np.exp2(np.clip(exponent, -127, 127)).astype(np.float32)
    found = form.rounded((pieces / scale).astype(np.float32)) * scale
    return found.reshape(len(x), -1)[:, : x.shape[1]].astype(np.float32)


def magnitude_mask(weight: Array, ratio: float) -> Mask:
    """Return what stays (True) of a tensor of which the smallest `ratio` become zero."""
    zeros = zeros_of(weight.size, ratio)
    mask = np.ones(weight.size, np.bool_)
    mask[np.argsort(np.abs(weight.reshape(-1)), kind="stable")[:zeros]] = False
    return mask.reshape(weight.shape)


def pattern_mask(weight: Array, kept: int = 2, of: int = 4) -> Mask:
    """Return what stays (True) of a matrix: the largest `kept` of each `of` along its rows."""
    rows, columns = weight.shape
    pieces = np.abs(weight).reshape(rows, columns // of, of)
    order = np.argsort(-pieces, axis=2, kind="stable")
    mask = np.zeros(pieces.shape, np.bool_)
    np.put_along_axis(mask, order[..., :kept], True, axis=2)
    return mask.reshape(rows, columns)


def sqnr_db(x: Array, rounded: Array) -> float:
    """Return the ratio of signal to quantization noise in decibels: about 6 for each bit."""
    noise = float(np.square(x.astype(np.float64) - rounded).sum())
    signal = float(np.square(x.astype(np.float64)).sum())
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)


def distillation_loss(student: Array, teacher: Array, temperature: float = 1.0) -> float:
    """Return T² · KL(teacher ‖ student) of logits (rows, classes), the mean over rows.

    Hinton et al. 2015 (arXiv 1503.02531): T² keeps gradients as large as at temperature 1.
    """
    ours, theirs = (_log_softmax(x / temperature) for x in (student, teacher))
    divergence = (np.exp(theirs) * (theirs - ours)).sum(1).mean()
    return float(temperature**2 * divergence)


def _log_softmax(x: Array) -> NDArray[np.float64]:
    shifted = x.astype(np.float64) - x.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _extremes(x: Array, axis: int | None) -> tuple[Array, Array]:
    if axis is None:
        return np.asarray(x.min()), np.asarray(x.max())
    others = tuple(i for i in range(x.ndim) if i != axis)
    return x.min(others, keepdims=True), x.max(others, keepdims=True)


def _positive(scale: Array) -> Array:
    return np.where(scale == 0, np.float32(1), scale).astype(np.float32)
