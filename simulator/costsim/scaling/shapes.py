"""Shapes of decoders at a given size: depth, width and heads that divide well over devices.

Width over depth stays near 128, as from GPT-3 13B (5140/40) and Llama 2 7B (4096/32) to Llama 3.1
405B (16384/126); loss hardly depends on it within a factor of three (Kaplan et al. 2020, section
3.1). Heads are 128 wide, as in all of those.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

HEAD_WIDTH = 128
_ASPECT = 128  # width over depth
_TILE = 128  # rows that kernels of matrix products work on, and Megatron-LM pads a vocabulary to
_TP = 8  # that everything is to divide by, where a model is wide enough
_UP_TO = 32_768  # width


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a decoder; widths in elements."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int


def padded(size: int, multiple: int) -> int:
    """Return the least multiple that is no less than `size`."""
    return -(-size // multiple) * multiple


def shape_of_width(
    hidden: int, vocabulary: int, *, gated: bool, grouped: bool, tp: int = _TP
) -> Shape:
    """Return the shape of a width that is a multiple of 128.

    Args:
        hidden: width of the residual stream.
        vocabulary: tokens, before padding to a multiple of 128 for each of `tp` parts.
        gated: whether the network has a gate, and so two thirds of the inner width.
        grouped: whether query heads share `tp` heads of keys and values.
        tp: parts that tensor parallelism makes of it, or as many as also divide its heads.
    """
    heads = hidden // HEAD_WIDTH
    parts = math.gcd(heads, tp)
    layers = max(round(hidden / _ASPECT / 4) * 4, 4)  # multiples of four divide over stages
    inner = 8 * hidden // 3 if gated else 4 * hidden
    return Shape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=parts if grouped else heads,
        feed_forward=padded(inner, _TILE * parts),
        vocabulary=padded(vocabulary, _TILE * parts),
    )


def widths() -> tuple[int, ...]:
    """Return the widths that are proposed: multiples of 512, from 4,096 on of 1,024."""
    return (*range(512, 4096, 512), *range(4096, _UP_TO + 1, 1024))
