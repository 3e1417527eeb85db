"""One formula, three number systems: exact integers, float columns, and symbols.

Every formula of costsim is ordinary arithmetic over a `Number`, which is

- a Python `int` (or `float`) where an exact figure is shown to a person,
- a float64 numpy column where a whole plan space is evaluated at once,
- a sympy expression where the closed form itself is wanted.

Arithmetic operators work on all three as they are; the few functions that do not are here.
Neither numpy nor sympy is imported until a value of theirs arrives.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

Number: TypeAlias = Any
"""An `int`, `float`, float64 `ndarray` or `sympy.Expr`."""


def _is_symbolic(*values: Number) -> bool:
    sympy = sys.modules.get("sympy")
    return sympy is not None and any(isinstance(value, sympy.Basic) for value in values)


def _is_column(*values: Number) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and any(isinstance(value, numpy.ndarray) for value in values)


def minimum(left: Number, right: Number) -> Number:
    """Return the smaller of two numbers, element by element for columns."""
    if _is_symbolic(left, right):
        return sys.modules["sympy"].Min(left, right)
    if _is_column(left, right):
        return sys.modules["numpy"].minimum(left, right)
    return min(left, right)


def maximum(left: Number, right: Number) -> Number:
    """Return the larger of two numbers, element by element for columns."""
    if _is_symbolic(left, right):
        return sys.modules["sympy"].Max(left, right)
    if _is_column(left, right):
        return sys.modules["numpy"].maximum(left, right)
    return max(left, right)


def where(condition: Number, true: Number, false: Number) -> Number:
    """Return `true` where `condition` holds, else `false`; conditions are never symbolic."""
    if _is_column(condition):
        return sys.modules["numpy"].where(condition, true, false)
    return true if condition else false


def ceil_div(numerator: Number, denominator: Number) -> Number:
    """Return the quotient rounded up: exact for integers of any size."""
    if _is_symbolic(numerator, denominator):
        return sys.modules["sympy"].ceiling(numerator / denominator)
    if _is_column(numerator, denominator):
        return sys.modules["numpy"].ceil(numerator / denominator)
    return -(-numerator // denominator)


def exact_div(numerator: Number, denominator: Number) -> Number:
    """Return the quotient, which stays an `int` where both are integers that divide evenly."""
    if isinstance(numerator, int) and isinstance(denominator, int):
        quotient, remainder = divmod(numerator, denominator)
        return quotient if not remainder else numerator / denominator
    return numerator / denominator
