"""Closed forms: a quantity as an expression in a model's own symbols, with its sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import sympy
from sympy import Expr, Symbol

from costsim.algebra import Number
from costsim.architectures import architecture as totals
from costsim.architectures.activations import saved_bytes
from costsim.architectures.architecture import Architecture
from costsim.architectures.block import Block
from costsim.architectures.symbols import (
    LETTERS,
    Meaning,
    Relations,
    SymbolTable,
    joined,
    symbol,
    symbolized,
)
from costsim.architectures.workload import FUSED, REFERENCE, Workload
from costsim.errors import UnknownNameError, suggestion

NARAYANAN = "Narayanan et al. 2021 (arXiv 2104.04473), section 5.1 and appendix"
KORTHIKANTI = "Korthikanti et al. 2022 (arXiv 2205.05198), section 4"
POPE = "Pope et al. 2022 (arXiv 2211.05102)"
COUNTER = "torch.utils.flop_counter.FlopCounterMode with eager attention (tests compare)"


@dataclass(frozen=True, slots=True)
class Term:
    """What `count` equal parts of a model add to a total, `each` of them alike."""

    name: str
    count: Number
    each: Number


@dataclass(frozen=True, slots=True)
class Quantity:
    """A total that has a closed form: the sum of its terms."""

    meaning: str
    unit: Literal["parameters", "FLOPs", "bytes"]
    terms: Callable[[Architecture, Number, Number, str], list[Term]]  # batch, tokens, dtype
    conventions: tuple[str, ...]
    sources: tuple[str, ...]
    needs: tuple[Literal["batch", "sequence", "dtype"], ...] = ()
    tokens: str = "tokens of each sequence"  # what s counts


def _by_block(
    model: Architecture, workload: Workload | None, total: Callable[[tuple[Block, ...]], Number]
) -> list[Term]:
    return [
        Term(block.name, block.count, total((replace(block, count=1),)))
        for block in model.blocks(workload)
    ]


def _parameters(model: Architecture, batch: Number, tokens: Number, dtype: str) -> list[Term]:
    return _by_block(model, None, totals.parameters)


def _active(model: Architecture, batch: Number, tokens: Number, dtype: str) -> list[Term]:
    return _by_block(model, None, totals.active_parameters)


def _flops(blocks: tuple[Block, ...]) -> Number:
    return totals.forward_flops(blocks, REFERENCE)


def _forward(model: Architecture, batch: Number, tokens: Number, dtype: str) -> list[Term]:
    return _by_block(model, Workload(batch, tokens), _flops)


def _training(model: Architecture, batch: Number, tokens: Number, dtype: str) -> list[Term]:
    def both(blocks: tuple[Block, ...]) -> Number:
        return _flops(blocks) + totals.backward_flops(blocks, REFERENCE)

    return _by_block(model, Workload(batch, tokens), both)


def _decode(model: Architecture, batch: Number, tokens: Number, dtype: str) -> list[Term]:
    return _by_block(model, Workload.generation(batch, tokens), _flops)


def _activations(model: Architecture, batch: Number, tokens: Number, dtype: str) -> list[Term]:
    def kept(blocks: tuple[Block, ...]) -> Number:
        return sum(saved_bytes(block, dtype, FUSED) for block in blocks)

    return _by_block(model, Workload(batch, tokens), kept)


def _cache(model: Architecture, batch: Number, tokens: Number, dtype: str) -> list[Term]:
    return [
        Term(tensor.name, count, totals.cached_bytes(tensor, dtype))
        for tensor, count in model.description.cache(batch, tokens)
    ]


_FLOPS = (
    "a multiply-add is 2 FLOPs; matrix products only",
    "attention's full square is counted, masked or not",
)

QUANTITIES: Mapping[str, Quantity] = {
    "parameters": Quantity(
        "trained parameters",
        "parameters",
        _parameters,
        ("tied weights count once",),
        (NARAYANAN,),
    ),
    "active_parameters": Quantity(
        "parameters that one token uses",
        "parameters",
        _active,
        ("tied weights count once", "of routed experts only those that a token is sent to"),
        (NARAYANAN,),
    ),
    "forward_flops": Quantity(
        "work of one forward pass",
        "FLOPs",
        _forward,
        (*_FLOPS, "logits at every position"),
        (NARAYANAN, COUNTER),
        ("batch", "sequence"),
    ),
    "training_flops": Quantity(
        "work of one forward and backward pass",
        "FLOPs",
        _training,
        (*_FLOPS, "a product's backward pass is two of its size; nothing is recomputed"),
        (NARAYANAN, COUNTER),
        ("batch", "sequence"),
    ),
    "decode_flops": Quantity(
        "work of generating one token in each sequence",
        "FLOPs",
        _decode,
        (*_FLOPS, "the new token attends to the cache and to itself"),
        (POPE, COUNTER),
        ("batch", "sequence"),
        "tokens already in each sequence",
    ),
    "cache_bytes": Quantity(
        "what generation keeps between tokens",
        "bytes",
        _cache,
        ("keys and values of every layer",),
        (POPE,),
        ("batch", "sequence", "dtype"),
    ),
    "activation_bytes": Quantity(
        "what the forward pass leaves for the backward pass",
        "bytes",
        _activations,
        ("fused kernels and FlashAttention, no recomputation, no dropout, one device",),
        (KORTHIKANTI,),
        ("batch", "sequence", "dtype"),
    ),
}
"""What `formula` and `costsim explain` know, by name."""


@dataclass(frozen=True, slots=True)
class Part:
    """What equal parts of a model add: the expression of one, and exact values."""

    name: str
    each: Expr
    count: int
    value: int  # of all of them


@dataclass(frozen=True, slots=True)
class Formula:
    """A quantity of a model: its expression, what the symbols are, and its exact value.

    `relations` between sizes of this model (f = 4·h) have been put into the expression.
    """

    quantity: str
    expression: Expr
    symbols: SymbolTable
    value: int
    unit: str
    meaning: str
    conventions: tuple[str, ...]
    sources: tuple[str, ...]
    parts: tuple[Part, ...]
    relations: Relations

    def compiled(self) -> Callable[..., Any]:
        """Return a numpy function of the symbols, in the order of `symbols`."""
        algebra: Any = sympy
        return algebra.lambdify(list(self.symbols), self.expression, "numpy", cse=True)


def formula(
    architecture: Architecture,
    quantity: str,
    *,
    batch: int = 1,
    sequence: int = 2048,
    dtype: str = "bf16",
) -> Formula:
    """Return the closed form of `quantity`, and its value for a batch of sequences.

    Args:
        architecture: the model, whose sizes become symbols.
        quantity: one of `QUANTITIES`.
        batch: sequences in the batch, the value of b.
        sequence: tokens of each, the value of s; for decoding, those in the cache.
        dtype: number format, which decides the bytes of an element.

    Raises:
        UnknownNameError: for a quantity that has no closed form.
    """
    found = QUANTITIES.get(quantity)
    if found is None:
        hint = suggestion(quantity, QUANTITIES)
        raise UnknownNameError(f"no quantity is called `{quantity}`", hint=hint)
    numeric = replace(architecture, description=joined(architecture.description))
    description, table, relations = symbolized(numeric.description)
    given = {"batch": ("b", "sequences", batch), "sequence": ("s", found.tokens, sequence)}
    free = {name: symbol(given[name][0]) for name in found.needs if name in given}
    table |= {free[name]: Meaning(given[name][1], given[name][2]) for name in free}
    symbolic = replace(architecture, description=description)
    terms = found.terms(symbolic, free.get("batch", 1), free.get("sequence", 1), dtype)
    values = found.terms(numeric, batch, sequence, dtype)
    expression = _tidy(sum(term.count * term.each for term in terms), relations)
    parts = tuple(
        Part(
            term.name, _tidy(term.each, relations), int(value.count), int(value.count * value.each)
        )
        for term, value in zip(terms, values, strict=True)
    )
    used = expression.free_symbols
    own = (f"{architecture.name}: {architecture.source}",) if architecture.source else ()
    return Formula(
        quantity=quantity,
        expression=expression,
        symbols={key: table[key] for key in sorted(table, key=_place) if key in used},
        value=int(sum(part.value for part in parts)),
        unit=found.unit,
        meaning=found.meaning,
        conventions=found.conventions,
        sources=(*found.sources, *own),
        parts=parts,
        relations=relations,
    )


def _place(free: Symbol) -> tuple[int, str]:
    """Return where a symbol stands in the list: as in `LETTERS`, batch and tokens last."""
    letters = [letter for letter, _ in LETTERS.values()]
    letter = str(free).partition("_")[0]
    return letters.index(letter) if letter in letters else len(letters), str(free)


def _tidy(raw: Number, relations: Relations) -> Expr:
    """Return an expression as what each kind of layer adds, and the rest."""
    algebra: Any = sympy  # which says little about its types
    products = {left: right for left, right in relations.items() if not isinstance(left, Symbol)}
    terms = algebra.expand(raw).subs(products)
    counts = [free for free in terms.free_symbols if str(free).partition("_")[0] == "L"]
    return algebra.collect(terms, sorted(counts, key=str), func=algebra.factor)
