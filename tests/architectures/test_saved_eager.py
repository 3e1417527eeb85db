"""What eager PyTorch keeps for the backward pass: against PyTorch itself, to the byte."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import sympy
import torch
import torch.nn.functional as F

from architectures.eager_reference import ACTIVATIONS, Case, Meter, measured_bytes, model
from costsim.architectures.activations import activation_bytes, kept_bytes
from costsim.architectures.operators import Elementwise, Held
from costsim.architectures.operators.eager import FUNCTIONS
from costsim.architectures.workload import Execution, Workload
from costsim.errors import UnknownNameError

EAGER = Execution(style="eager", attention="unfused", low_precision=False, device="cpu")

CASES = [
    Case(family, attention, precision, checkpoint, dropout)
    for family, attention, precision, checkpoint, dropout in product(
        ("llama", "gpt2"),
        ("eager", "sdpa"),
        ("fp32", "bf16", "autocast"),
        (False, True),
        (0.0, 0.1),
    )
] + [
    Case("llama", attention, precision, kv_heads=kv_heads, head_norms=head_norms, dropout=dropout)
    for attention in ("eager", "sdpa")
    for precision in ("fp32", "bf16", "autocast")
    for kv_heads, head_norms, dropout in ((1, False, 0.1), (2, True, 0.0))
]


def predicted_bytes(case: Case) -> int:
    return kept_bytes(
        case.architecture, case.workload, case.execution, case.dtype, checkpoint=case.checkpoint
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_what_autograd_saves(case: Case) -> None:
    assert predicted_bytes(case) == measured_bytes(case)


def test_reference_has_the_same_parameters() -> None:
    for case in (Case("llama", kv_heads=2, head_norms=True), Case("gpt2")):
        counted = sum(parameter.numel() for parameter in model(case).parameters())
        assert case.architecture.parameters == counted


def _torch_function(name: str):
    def gelu_new(x):
        return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x.pow(3))))

    powers = {"relu2": lambda x: F.relu(x).square(), "gelu_new": gelu_new}
    return powers.get(name) or ACTIVATIONS[name]


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_activation_function(function: str, gated: bool) -> None:
    rows, width = 7, 5
    ups = 2 if gated else 1
    operator = Elementwise(
        name="activation",
        rows=rows,
        read=ups * width,
        written=width,
        holds=(Held("up", ups * width),),
        function=function,
        gated=gated,
    )
    down = torch.nn.Linear(width, 3)
    gate, up = (torch.randn(rows, width, requires_grad=True) * 1 for _ in range(2))
    with Meter(list(down.parameters())) as meter:
        found = _torch_function(function)(gate)
        down(found * up if gated else found)
    # The next product keeps its input, which may be what the function keeps anyway.
    kept = {tensor.name: tensor for tensor in operator.saved(EAGER)}
    output = 0 if "activation" in kept else rows * width * 4
    assert activation_bytes(kept.values(), "fp32", EAGER) + output == meter.total_bytes


def test_unknown_activation_function_is_named() -> None:
    operator = Elementwise(
        name="a", rows=1, read=1, written=1, holds=(Held("up", 1),), function="gelu_newer"
    )
    with pytest.raises(UnknownNameError, match="gelu_newer"):
        operator.saved(EAGER)


@pytest.mark.parametrize(
    ("family", "attention", "published"),
    [("llama", "eager", 26), ("llama", "sdpa", 22), ("gpt2", "eager", 32), ("gpt2", "sdpa", 28.1)],
)
def test_growth_per_layer(family: str, attention: str, published: float) -> None:
    """Measured growth in units of s·b·h at s = h = 128, 4 heads, inner width 3h and 4h."""
    inner = 384 if family == "llama" else 512
    sizes = {"hidden": 128, "inner": inner, "sequence": 128, "batch": 2}
    one, two = (
        predicted_bytes(Case(family, attention, layers=layers, **sizes)) for layers in (1, 2)
    )
    growth = (two - one) / 4 / (128 * 2 * 128)
    assert growth == pytest.approx(published, abs=0.1)


def test_symbols_integers_and_columns_agree() -> None:
    s, b = sympy.symbols("s b", positive=True, integer=True)
    rng = np.random.default_rng(0)
    tokens, batch = rng.integers(1, 5000, 20), rng.integers(1, 64, 20)
    for case in CASES:
        arguments = (case.execution, case.dtype)
        more = {"checkpoint": case.checkpoint}
        formula = kept_bytes(case.architecture, Workload(b, s), *arguments, **more)
        exact = [
            kept_bytes(case.architecture, Workload(int(n), int(t)), *arguments, **more)
            for n, t in zip(batch, tokens, strict=True)
        ]
        columns = Workload(batch.astype(float), tokens.astype(float))
        assert kept_bytes(case.architecture, columns, *arguments, **more).tolist() == exact
        evaluate = sympy.lambdify((b, s), formula)
        assert [evaluate(int(n), int(t)) for n, t in zip(batch, tokens, strict=True)] == exact


def test_a_gpu_keeps_masks_in_bytes() -> None:
    case = Case("gpt2", "eager", "bf16", dropout=0.1)
    on_gpu = replace(case.execution, device="gpu")
    masks = case.layers * (
        case.batch * case.heads * case.sequence**2 + 2 * case.batch * case.sequence * case.hidden
    )
    masks += case.batch * case.sequence * case.hidden  # of the embedding
    statistics = (2 * case.layers + 1) * 2 * case.batch * case.sequence  # fp32 instead of bf16
    kept = kept_bytes(case.architecture, case.workload, on_gpu, "bf16")
    assert predicted_bytes(case) - kept == masks - 2 * statistics
