"""Closed forms: a quantity as an expression in a model's own symbols, with its sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sympy
from sympy import Expr

from costsim.algebra import Number
from costsim.architectures import architecture as totals
from costsim.architectures.activations import kept_bytes
from costsim.architectures.architecture import Architecture
from costsim.architectures.symbols import Meaning, Relations, SymbolTable, symbol, symbolized
from costsim.architectures.workload import FUSED, Workload
from costsim.errors import UnknownNameError, suggestion

NARAYANAN = "Narayanan et al. 2021 (arXiv 2104.04473), section 5.1 and appendix"
KORTHIKANTI = "Korthikanti et al. 2022 (arXiv 2205.05198), section 4"
POPE = "Pope et al. 2022 (arXiv 2211.05102), section 2 and 3.3"
COUNTER = "torch.utils.flop_counter.FlopCounterMode with eager attention (tests compare)"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A total that has a closed form."""

    meaning: str
    unit: str
    evaluate: Callable[[Architecture, Number, Number, str], Number]  # batch, tokens, dtype
    conventions: tuple[str, ...]
    sources: tuple[str, ...]
    needs: tuple[str, ...] = ()  # of batch, sequence, dtype: those that it depends on
    tokens: str = "tokens of each sequence"  # what s counts


_FLOPS = (
    "a multiply-add is 2 FLOPs; matrix products only",
    "attention's full square is counted, masked or not",
)


def _forward(model: Architecture, batch: Number, tokens: Number, dtype: str) -> Number:
    return totals.forward_flops(model.blocks(Workload(batch, tokens)))


def _training(model: Architecture, batch: Number, tokens: Number, dtype: str) -> Number:
    blocks = model.blocks(Workload(batch, tokens))
    return totals.forward_flops(blocks) + totals.backward_flops(blocks)


def _decode(model: Architecture, batch: Number, tokens: Number, dtype: str) -> Number:
    return totals.forward_flops(model.blocks(Workload(batch, 1, tokens + 1)))


QUANTITIES: Mapping[str, Quantity] = {
    "parameters": Quantity(
        "trained parameters",
        "parameters",
        lambda model, batch, tokens, dtype: totals.parameters(model.blocks()),
        ("tied weights count once",),
        (NARAYANAN,),
    ),
    "active_parameters": Quantity(
        "parameters that one token uses",
        "parameters",
        lambda model, batch, tokens, dtype: totals.active_parameters(model.blocks()),
        ("tied weights count once", "of routed experts only those that a token is sent to"),
        (NARAYANAN,),
    ),
    "forward_flops": Quantity(
        "FLOPs of one forward pass",
        "FLOPs",
        _forward,
        (*_FLOPS, "logits at every position"),
        (NARAYANAN, COUNTER),
        ("batch", "sequence"),
    ),
    "training_flops": Quantity(
        "FLOPs of one forward and backward pass",
        "FLOPs",
        _training,
        (*_FLOPS, "a product's backward pass is two of its size; nothing is recomputed"),
        (NARAYANAN, COUNTER),
        ("batch", "sequence"),
    ),
    "decode_flops": Quantity(
        "FLOPs of generating one token for each sequence",
        "FLOPs",
        _decode,
        (*_FLOPS, "the new token attends to the cache and to itself"),
        (POPE, COUNTER),
        ("batch", "sequence"),
        "tokens already in each sequence",
    ),
    "cache_bytes": Quantity(
        "bytes that generation keeps between tokens",
        "bytes",
        lambda model, batch, tokens, dtype: totals.cache_bytes(
            model.description, batch, tokens, dtype
        ),
        ("keys and values of each layer",),
        (POPE,),
        ("batch", "sequence", "dtype"),
    ),
    "activation_bytes": Quantity(
        "bytes that the forward pass leaves for the backward pass",
        "bytes",
        lambda model, batch, tokens, dtype: kept_bytes(
            model, Workload(batch, tokens), FUSED, dtype
        ),
        ("fused kernels and FlashAttention, no recomputation, no dropout, one device",),
        (KORTHIKANTI,),
        ("batch", "sequence", "dtype"),
    ),
}
"""What `formula` and `costsim explain` know, by name."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A quantity of a model: its expression, what the symbols are, and its exact value."""

    quantity: str
    expression: Expr
    symbols: SymbolTable
    value: int
    unit: str
    meaning: str
    conventions: tuple[str, ...]
    sources: tuple[str, ...]

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
    description, table, relations = symbolized(architecture.description)
    given = {"batch": ("b", "sequences", batch), "sequence": ("s", found.tokens, sequence)}
    symbols = {name: symbol(given[name][0]) for name in found.needs if name in given}
    for name, free in symbols.items():
        table[free] = Meaning(given[name][1], given[name][2])
    symbolic = replace(architecture, description=description)
    raw = found.evaluate(symbolic, symbols.get("batch", 1), symbols.get("sequence", 1), dtype)
    expression = _tidy(raw, relations)
    free = expression.free_symbols
    own = (f"{architecture.name}: {architecture.source}",) if architecture.source else ()
    return Formula(
        quantity=quantity,
        expression=expression,
        symbols={key: meaning for key, meaning in table.items() if key in free},
        value=int(found.evaluate(architecture, batch, sequence, dtype)),
        unit=found.unit,
        meaning=found.meaning,
        conventions=found.conventions,
        sources=(*found.sources, *own),
    )


def _tidy(raw: Number, relations: Relations) -> Expr:
    """Return an expression as what each kind of layer adds, and the rest."""
    algebra: Any = sympy  # which says little about its types
    terms = algebra.expand(raw).subs(relations)
    counts = [free for free in terms.free_symbols if str(free).partition("_")[0] == "L"]
    return algebra.collect(terms, sorted(counts, key=str), func=algebra.factor)
