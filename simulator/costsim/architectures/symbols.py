"""A description with symbols in place of its numbers.

Every formula is arithmetic over whatever a description holds, so the closed form of a quantity is
what the same function gives for this description. Sizes that follow from others are written so:
4·h for a network's width, h for heads times their width, where that is what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeAlias, cast

from sympy import Expr, Symbol

from costsim.architectures.architecture import Description

LETTERS: Mapping[str, tuple[str, str]] = {
    "layers": ("L", "layers"),
    "hidden": ("h", "width of the residual stream"),
    "heads": ("a", "query heads"),
    "kv_heads": ("k", "key and value heads"),
    "head_dim": ("d", "width of a head"),
    "width": ("f", "inner width of the feed-forward network"),
    "vocabulary": ("V", "entries of the vocabulary"),
    "positions": ("P", "learned positions"),
    "embedding_width": ("e", "width of the token embedding"),
    "window": ("w", "positions that attention sees"),
    "experts": ("x", "routed experts of a layer"),
    "top_k": ("t", "routed experts that a token passes"),
    "latent_dim": ("c", "width of the latent that keys and values are made of"),
    "query_latent_dim": ("q", "width of the latent that queries are made of"),
    "key_dim": ("n", "width of a head's keys without positions"),
    "rotary_dim": ("r", "width of a head's keys with positions"),
    "value_dim": ("v", "width of a head's values"),
}
"""Field of a description → its letter and meaning. A number in another field stays a number."""

_MULTIPLES = range(2, 9)  # f = 4·h is how a model is described; f = 53·h would be a coincidence


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a symbol stands for, and its value in this model."""

    text: str
    value: int


SymbolTable: TypeAlias = dict[Symbol, Meaning]

Relations: TypeAlias = dict[Expr, Expr]
"""What sizes equal in this model: a symbol that is not used (f = 4·h), or a product (a·d = h)."""


def symbol(name: str) -> Symbol:
    """Return the positive integer called `name`."""
    return Symbol(name, positive=True, integer=True)


def symbolized(description: Description) -> tuple[Description, SymbolTable, Relations]:
    """Return `description` over symbols, what each symbol stands for, and what sizes equal.

    A size that differs between layers has a symbol for each of its values (f_1, f_2, …).
    """
    if not is_dataclass(description) or isinstance(description, type):
        return description, {}, {}
    values: dict[str, dict[int, None]] = {}
    _rewritten(description, _Collector(values), {})
    namer = _Namer(values)
    return _rewritten(description, namer, {}), namer.table, namer.relations


def joined(description: Any) -> Any:
    """Return `description` with equal layers in one run, which no total can tell."""
    runs: Any = getattr(description, "layers", None)
    if not isinstance(runs, tuple) or not all(_is_run(item) for item in cast("Any", runs)):
        return description
    counts: dict[Any, int] = {}
    for layer, count in cast("tuple[tuple[Any, int], ...]", runs):
        counts[layer] = counts.get(layer, 0) + count
    return replace(description, layers=tuple(counts.items()))


def _is_run(item: Any) -> bool:
    """Return whether `item` is a layer and how many of it."""
    pair = cast("tuple[Any, ...]", item) if isinstance(item, tuple) else ()
    return len(pair) == 2 and is_dataclass(pair[0]) and type(pair[1]) is int


def _rewritten(node: Any, leaf: _Collector | _Namer, scope: Mapping[str, Any]) -> Any:
    """Return `node` with `leaf(field, number, scope)` in place of every number."""
    if isinstance(node, tuple):
        items = cast("tuple[Any, ...]", node)
        return tuple(
            _rewritten_run(item, at, len(items), leaf, scope) for at, item in enumerate(items)
        )
    if not is_dataclass(node) or isinstance(node, type):
        return node
    held = {field.name: getattr(node, field.name) for field in fields(node)}
    inner = {**scope, **held}
    changed = {
        name: leaf(name, value, inner) if type(value) is int else _rewritten(value, leaf, inner)
        for name, value in held.items()
    }
    return replace(node, **changed)


def _rewritten_run(
    item: Any, at: int, runs: int, leaf: _Collector | _Namer, scope: Mapping[str, Any]
) -> Any:
    """Return a layer and how many of it, rewritten; or whatever else stands in a tuple."""
    if _is_run(item):
        return _rewritten(item[0], leaf, scope), leaf.run(runs, at, item[1])
    return _rewritten(item, leaf, scope)


class _Collector:
    """First pass: which values each field takes."""

    def __init__(self, values: dict[str, dict[int, None]]) -> None:
        self.values = values

    def __call__(self, field: str, value: int, scope: Mapping[str, Any]) -> int:
        if field in LETTERS and value and _derived(field, value, scope) is None:
            self.values.setdefault(field, {})[value] = None
        return value

    def run(self, runs: int, index: int, count: int) -> int:
        del runs, index
        return count


class _Namer:
    """Second pass: a symbol for each value, or the expression that it follows from."""

    def __init__(self, values: Mapping[str, dict[int, None]]) -> None:
        self.values = values
        self.table: SymbolTable = {}
        self.relations: Relations = {}

    def __call__(self, field: str, value: int, scope: Mapping[str, Any]) -> Any:
        if field not in LETTERS or not value:
            return value
        derived = _derived(field, value, scope)
        if derived is not None:
            other, factor = derived
            multiple = factor * self(other, scope[other], scope)
            self.relations[symbol(LETTERS[field][0])] = multiple
            return multiple
        known = list(self.values[field])
        index = known.index(value) + 1 if len(known) > 1 else 0
        found = self._named(field, index, value)
        if field == "head_dim" and value * scope.get("heads", 0) == scope.get("hidden"):
            product: Any = found * self("heads", scope["heads"], scope)
            self.relations[product] = self("hidden", scope["hidden"], scope)
        return found

    def run(self, runs: int, index: int, count: int) -> Expr:
        """Name a number of layers by its run; stacks of other depths go on counting."""
        own = index + 1 if runs > 1 else 0
        while self.table.get(self._symbol("layers", own), Meaning("", count)).value != count:
            own += 1
        return self._named("layers", own, count)

    def _symbol(self, field: str, index: int) -> Symbol:
        letter, _ = LETTERS[field]
        return symbol(f"{letter}_{index}" if index else letter)

    def _named(self, field: str, index: int, value: int) -> Symbol:
        _, meaning = LETTERS[field]
        found = self._symbol(field, index)
        text = f"{meaning}, kind {index}" if index else meaning
        self.table[found] = Meaning(text, value)
        return found


def _derived(field: str, value: int, scope: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return the field that a size is a multiple of, and the factor."""
    if field == "kv_heads" and value == scope.get("heads"):
        return "heads", 1
    if field == "width":
        for factor in _MULTIPLES:
            if value == factor * scope.get("hidden", 0):
                return "hidden", factor
    return None
