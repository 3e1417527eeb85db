"""Sizes between traces: blocks of several traces joined into polynomials of one number.

Every size in a trace (rows of a product, elements of a tensor) is a polynomial of low degree in the
batch and in the sequence, as long as the module does the same things at every size. Newton's form
through the traces is exact; another trace checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, cast

from costsim.algebra import Number

MAX_DEGREE = 3


class DiffersError(Exception):
    """Traces at different sizes do not consist of the same things."""


def degree_of(trace: Callable[[int], Any], points: Sequence[int]) -> int:
    """Return the degree of the sizes that `trace` returns, found and checked at `points`.

    Raises:
        DiffersError: if no degree up to `MAX_DEGREE` fits, or traces are not alike.
    """
    for degree in range(1, MAX_DEGREE + 1):
        through, check = points[: degree + 1], points[degree + 1]
        if interpolated([trace(point) for point in through], through, check) == trace(check):
            return degree
    raise DiffersError("sizes are no polynomials")


def interpolated(nodes: Sequence[Any], points: Sequence[int], at: Number) -> Any:
    """Return nested records like each of `nodes`, whose numbers are those at `at`.

    Args:
        nodes: one record for each of `points`; they differ in numbers alone.
        points: where `nodes` were seen.
        at: a number, column or symbol.

    Raises:
        DiffersError: if the nodes differ in anything but numbers.
    """
    first = nodes[0]
    if all(node is first for node in nodes):
        return first
    if isinstance(first, tuple):
        rows = cast("Sequence[tuple[Any, ...]]", nodes)
        if any(len(row) != len(rows[0]) for row in rows):
            raise DiffersError("not as many of the same things")
        return tuple(interpolated(column, points, at) for column in zip(*rows, strict=True))
    if is_dataclass(first) and not isinstance(first, type):
        if any(type(node) is not type(first) for node in nodes):
            raise DiffersError("not the same kinds of things")
        held = {
            field.name: interpolated([getattr(node, field.name) for node in nodes], points, at)
            for field in fields(first)
        }
        return replace(cast(Any, first), **held)
    if isinstance(first, str | bool) or first is None:
        if any(node != first for node in nodes):
            raise DiffersError(f"{first!r} is not always so")
        return first
    return _number(nodes, points, at)


def _number(values: Sequence[Any], points: Sequence[int], at: Number) -> Number:
    whole = all(isinstance(value, int) for value in values)
    if whole and all(value == values[0] for value in values):
        return values[0]
    # Divided differences are the coefficients of Newton's form.
    table: list[Any] = [Fraction(value) for value in values] if whole else list(values)
    total, basis = table[0], 1
    for order in range(1, len(points)):
        table = [
            (right - left) / (points[index + order] - points[index])
            for index, (left, right) in enumerate(pairwise(table))
        ]
        basis = basis * (at - points[order - 1])
        total = _sum(total, table[0], basis)
    if isinstance(total, Fraction):
        return int(total) if total.denominator == 1 else float(total)
    return total


def _sum(total: Any, coefficient: Any, basis: Number) -> Any:
    """Return total + coefficient · basis, in which no fraction meets a column."""
    if isinstance(coefficient, Fraction) and not isinstance(basis, int):
        added: Any = basis * coefficient.numerator / coefficient.denominator
        return (_plain(total) if isinstance(total, Fraction) else total) + added
    return total + coefficient * basis


def _plain(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)
