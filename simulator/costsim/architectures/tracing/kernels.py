"""What ATen operations ask of the hardware: products and convolutions by shape, the rest by size.

The counting is that of `torch.utils.flop_counter`, with three repairs: the weight gradient of a
grouped convolution is counted by group, attention kernels on a CPU are counted, and so are grouped
products. Backward passes of attention kernels are counted without the scores that they recompute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, TypeAlias

from costsim.algebra import exact_div
from costsim.architectures.work import (
    Convolved,
    Direction,
    Gemm,
    GroupedGemm,
    ScaledDotProduct,
    Work,
)

Shape: TypeAlias = tuple[int, ...]

Call: TypeAlias = Mapping[str, Any]
"""Arguments of an operation by their names in its schema, with shapes in place of tensors."""


def _product(first: str, second: str) -> Formula:
    """Return the formula of (…, m, k) × (…, k, n), whose factors are the arguments named."""

    def formula(call: Call) -> tuple[Work, ...]:
        *batch, m, k = call[first]
        return (Gemm(m, call[second][-1], k, prod(batch)),)

    return formula


def _grouped_product(call: Call) -> tuple[Work, ...]:
    """Products of runs of rows with a matrix each; their gradients sum over each run."""
    a: Shape = call["self"]
    b: Shape = call["mat2"]
    if len(a) == len(b) == 3:
        return (Gemm(a[1], b[2], a[2], a[0]),)
    if len(b) == 3:
        return (GroupedGemm(a[0], b[2], a[1], b[0]),)
    if len(a) == 3:
        return (GroupedGemm(b[1], a[1], a[2], a[0]),)
    return (GroupedGemm(a[0], b[1], a[1], call["offs"][0], ragged="k"),)


def _convolution(call: Call) -> tuple[Work, ...]:
    forward, reverse, _ = _convolved(call, call["input"], call["weight"], call["output"])
    return (reverse if call["transposed"] else forward,)


def _convolution_backward(call: Call) -> tuple[Work, ...]:
    forward, reverse, of_weight = _convolved(
        call, call["input"], call["weight"], call["grad_output"]
    )
    of_input = forward if call["transposed"] else reverse
    wanted = call["output_mask"]
    return (*((of_input,) if wanted[0] else ()), *((of_weight,) if wanted[1] else ()))


def _convolved(
    call: Call, read: Shape, weight: Shape, written: Shape
) -> tuple[Convolved, Convolved, Convolved]:
    """Return the three products of a convolution: gathering, scattering, the weight's gradient.

    Seen from either end they are the same: at each of `at` positions (outputs; inputs of a
    transposed convolution), every weight once.
    """
    inner, outer = (written, read) if call["transposed"] else (read, written)
    at, over = outer[0] * prod(outer[2:]), inner[0] * prod(inner[2:])
    outputs, columns, *kernel = weight
    groups: int = call["groups"]
    rows, taps = outputs // groups, prod(kernel)
    elements = prod(read) + prod(weight) + prod(written)
    multiply_adds = at * outputs * columns * taps
    meeting = exact_div(rows * taps * at, over)
    return (
        Convolved(at, rows, columns * taps, groups, multiply_adds, elements, prod(inner)),
        Convolved(over, columns, meeting, groups, multiply_adds, elements, prod(outer)),
        Convolved(rows, columns * taps, at, groups, multiply_adds, elements, prod(outer)),
    )


def _attention(direction: Direction) -> Formula:
    def formula(call: Call) -> tuple[Work, ...]:
        *batch, heads, tokens, width = call["query"]
        return (
            ScaledDotProduct(
                batch=prod(batch),
                query_heads=heads,
                kv_heads=call["key"][-3],
                query_tokens=tokens,
                kv_tokens=call["key"][-2],
                head_dim=width,
                value_dim=call["value"][-1],
                causal=bool(call["is_causal"]),
                direction=direction,
            ),
        )

    return formula


Formula: TypeAlias = Callable[[Call], tuple[Work, ...]]

_FUSED_ATTENTION = tuple(
    f"aten::_scaled_dot_product_{kernel}"
    for kernel in (
        "flash_attention_for_cpu",
        "flash_attention",
        "efficient_attention",
        "cudnn_attention",
        "fused_attention_overrideable",
    )
)

FORMULAS: Mapping[str, Formula] = {
    "aten::mm": _product("self", "mat2"),
    "aten::addmm": _product("mat1", "mat2"),
    "aten::_addmm_activation": _product("mat1", "mat2"),
    "aten::_scaled_mm": _product("self", "mat2"),
    "aten::_int_mm": _product("self", "mat2"),
    "aten::bmm": _product("self", "mat2"),
    "aten::baddbmm": _product("batch1", "batch2"),
    "aten::_grouped_mm": _grouped_product,
    "aten::convolution": _convolution,
    "aten::_convolution": _convolution,
    "aten::convolution_backward": _convolution_backward,
    **{kernel: _attention("forward") for kernel in _FUSED_ATTENTION},
    **{f"{kernel}_backward": _attention("backward") for kernel in _FUSED_ATTENTION},
}
"""Operation, without its overload → its products."""

LOOKUPS = frozenset(("aten::embedding", "aten::_embedding_bag"))
"""Operations whose first argument is a table of which rows are read."""

GATHERS = LOOKUPS | {"aten::index", "aten::index_select", "aten::gather"}
"""Operations that read as much as they write, however large their source."""

FREE = frozenset(
    f"aten::{name}"
    for name in (
        "_local_scalar_dense",
        "_unsafe_view",
        "detach",
        "empty",
        "empty_like",
        "empty_strided",
        "is_same_size",
        "lift_fresh",
        "new_empty",
        "new_empty_strided",
    )
)
"""Operations that move nothing, beside those that return views."""
