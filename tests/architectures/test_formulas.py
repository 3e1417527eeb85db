"""Formulas of catalog models: readable, exact, and the same in all number systems."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from costsim.architectures import Architecture, load_model
from costsim.architectures.activations import kept_bytes
from costsim.architectures.architecture import backward_flops, forward_flops, parameters
from costsim.architectures.decoder import decoder
from costsim.architectures.formulas import QUANTITIES, formula
from costsim.architectures.symbols import symbol
from costsim.architectures.workload import FUSED, Workload
from costsim.errors import UnknownNameError

h, L, V, P, b, s, d, k, f, w = (symbol(name) for name in "hLVPbsdkfw")


def test_forms_are_those_of_the_textbook() -> None:
    gpt3, llama = load_model("gpt3-175b"), load_model("llama-3-70b")
    textbook = L * (12 * h**2 + 13 * h) + h * (V + P + 2)
    assert sympy.expand(gpt3.formula("parameters") - textbook) == 0
    training = gpt3.formula("training_flops")
    textbook = 72 * b * s * L * h**2 * (1 + s / (6 * h) + V / (12 * L * h))
    assert sympy.expand(training - textbook) == 0
    layer = 2 * h**2 + 2 * h * k * d + 3 * h * f + 2 * h
    assert sympy.expand(llama.formula("parameters") - (L * layer + h * (2 * V + 1))) == 0
    assert sympy.expand(llama.formula("cache_bytes") - 2 * L * k * d * s * b * 2) == 0


def test_a_window_bounds_the_cache() -> None:
    mistral = load_model("mistral-7b-v0.1")
    assert mistral.formula("cache_bytes") == 4 * L * b * d * k * sympy.Min(s, w - 1)


def test_layers_that_differ_have_symbols_of_their_own() -> None:
    model = Architecture(
        "mixed",
        decoder(
            layers=7,
            hidden=64,
            heads=4,
            vocabulary=100,
            positions="rotary",
            window_runs=((None, 2), (8, 3), (None, 2)),
        ),
    )
    found = formula(model, "cache_bytes", batch=2, sequence=32)
    assert {str(name): meaning.value for name, meaning in found.symbols.items()} == {
        "L_1": 4,
        "L_2": 3,
        "h": 64,
        "w": 8,
        "b": 2,
        "s": 32,
    }
    assert found.value == 2 * 2 * 64 * 2 * (4 * 32 + 3 * 7)
    assert _evaluated(found) == found.value


def test_symbols_have_meaning_and_value() -> None:
    found = formula(load_model("gpt3-175b"), "forward_flops", batch=3, sequence=1024)
    values = {str(name): meaning.value for name, meaning in found.symbols.items()}
    assert values == {"L": 96, "h": 12288, "V": 50257, "b": 3, "s": 1024}
    assert found.value == load_model("gpt3-175b").forward_flops(3, 1024)
    assert found.sources
    assert found.unit == "FLOPs"


def test_unknown_quantity() -> None:
    with pytest.raises(UnknownNameError, match="did you mean `forward_flops`"):
        load_model("gpt2").formula("forward_flop")


def _evaluated(found) -> int:
    """Return the expression in exact arithmetic: the values put in, by Python's integers."""
    values = {str(name): meaning.value for name, meaning in found.symbols.items()}
    return int(eval(str(found.expression), {"Min": min, "Max": max}, values))


MODELS = ["gpt3-175b", "llama-3-70b", "qwen3-8b", "palm-540b", "opt-350m", "mistral-7b-v0.1"]


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("name", MODELS)
def test_expression_has_the_value_of_the_exact_total(name: str, quantity: str) -> None:
    model = load_model(name)
    found = formula(model, quantity, batch=2, sequence=5000)
    assert _evaluated(found) == found.value
    methods = {
        "parameters": lambda: model.parameters,
        "active_parameters": lambda: model.active_parameters,
        "forward_flops": lambda: model.forward_flops(2, 5000),
        "training_flops": lambda: model.training_flops(2, 5000),
        "decode_flops": lambda: model.decode_flops(2, 5000),
        "cache_bytes": lambda: model.cache_bytes(2, 5000),
        "activation_bytes": lambda: model.activation_bytes(2, 5000),
    }
    assert found.value == methods[quantity]()


shapes = st.fixed_dictionaries(
    {
        "layers": st.integers(1, 200),
        "hidden": st.integers(1, 300).map(lambda units: 64 * units),
        "heads": st.sampled_from([1, 2, 4, 8, 16, 32, 64]),
        "kv_heads": st.sampled_from([1, 2, 4, 8]),
        "head_dim": st.none() | st.integers(1, 256),
        "vocabulary": st.integers(1, 300_000),
        "feed_forward": st.none() | st.integers(1, 100_000),
        "gated": st.booleans(),
        "bias": st.booleans(),
        "norm": st.sampled_from(["layer", "rms"]),
        "query_key_norm": st.booleans(),
        "positions": st.sampled_from(["learned", "rotary", "alibi", "none"]),
        "max_positions": st.integers(1, 200_000),
        "tied": st.booleans(),
        "parallel": st.booleans(),
        "window": st.none() | st.integers(1, 10_000),
        "embedding_width": st.none() | st.integers(1, 1000),
    }
).filter(lambda shape: shape["heads"] % shape["kv_heads"] == 0)
batches, tokens = st.integers(1, 4096), st.integers(1, 100_000)


@given(shapes, st.lists(st.tuples(batches, tokens), min_size=1, max_size=4))
def test_a_float_column_has_the_exact_totals(shape, points: list[tuple[int, int]]) -> None:
    model = Architecture("drawn", decoder(**shape))
    batch, sequence = np.array(points, float).T
    columns = _totals(model, batch, sequence)
    for row, (one_batch, one_sequence) in enumerate(points):
        for column, exact in zip(columns, _totals(model, one_batch, one_sequence), strict=True):
            assert isinstance(exact, int)
            assert np.broadcast_to(column, len(points))[row] == pytest.approx(exact, rel=1e-12)


@given(shapes, batches, tokens)
def test_compiled_formula_gives_the_exact_total(shape, batch: int, sequence: int) -> None:
    model = Architecture("drawn", decoder(**shape))
    for quantity in ("parameters", "training_flops", "activation_bytes"):
        found = formula(model, quantity, batch=batch, sequence=sequence)
        values = [float(meaning.value) for meaning in found.symbols.values()]
        assert found.compiled()(*values) == pytest.approx(found.value, rel=1e-12)


def _totals(model: Architecture, batch, sequence) -> tuple:
    work = Workload(batch, sequence)
    blocks = model.blocks(work)
    return (
        parameters(blocks),
        forward_flops(blocks),
        backward_flops(blocks),
        kept_bytes(model, work, FUSED, "bf16"),
    )
