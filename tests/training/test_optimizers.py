"""Optimizer state and gradients: against torch.optim and measured runs, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import sympy
import torch

from architectures.eager_reference import Case, model
from architectures.memory_rows import Row, case, excerpt, shared_rows
from costsim.architectures.architecture import parameters
from costsim.errors import UnknownNameError
from costsim.training.optimizers import (
    OPTIMIZERS,
    optimizer,
    optimizer_bytes,
    state_bytes_per_parameter,
)

BYTES = {"fp32": 4, "autocast": 4, "bf16": 2}  # of parameters, and so of gradients and moments


def torch_optimizer(name: str, weights: list):
    made = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "sgd": torch.optim.SGD,
        "sgd_momentum": lambda some: torch.optim.SGD(some, momentum=0.9),
        "adafactor": torch.optim.Adafactor,
    }
    return made[name](weights)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_equals_what_torch_holds(name: str, family: str, precision: str) -> None:
    run = Case(family, precision=precision, kv_heads=2 if family == "llama" else 4)
    weights = list(model(run).parameters())
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    made = torch_optimizer(name, weights)
    made.step()
    held = sum(
        value.numel() * value.element_size()
        for state in made.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    blocks = run.architecture.blocks(run.workload)
    assert optimizer_bytes(name, blocks, moment_bytes=BYTES[precision]) == held


def check(row: Row) -> None:
    blocks = case(row).architecture.blocks()
    width = BYTES[row["dtype"]]
    assert parameters(blocks) * width == int(row["grad_bytes"])
    state = optimizer_bytes(row["optim"], blocks, moment_bytes=width)
    assert state == int(row["optim_state_bytes"])


@pytest.mark.parametrize("row", excerpt(), ids=lambda row: row["id"])
def test_excerpt(row: Row) -> None:
    check(row)


def test_all_rows(shared: Path) -> None:
    for row in shared_rows(shared):
        check(row)


def test_master_weights_are_added_once_a_parameter() -> None:
    blocks = Case("gpt2").architecture.blocks()  # with a tied head
    plain = optimizer_bytes("adamw", blocks)
    assert optimizer_bytes("adamw", blocks, master_bytes=4) - plain == 4 * parameters(blocks)


def test_mixed_precision_adam_holds_twelve_bytes_a_parameter() -> None:
    """Rajbhandari et al. 2019 (ZeRO, arXiv 1910.02054): K = 12 for fp32 copy and two moments."""
    assert 4 + state_bytes_per_parameter("adam") == 12


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_bytes_a_parameter_are_the_limit_of_large_models(name: str) -> None:
    sizes = {"hidden": 65536, "inner": 4 * 65536, "vocabulary": 65536, "heads": 64, "kv_heads": 64}
    blocks = Case("llama", **sizes).architecture.blocks()
    ratio = optimizer_bytes(name, blocks) / parameters(blocks)
    assert ratio == pytest.approx(state_bytes_per_parameter(name), abs=1e-3)


def test_factors_of_a_matrix_and_of_a_stack() -> None:
    rows, columns, experts = sympy.symbols("r c e", positive=True)
    kind = optimizer("adafactor")
    assert kind.state_elements((rows, columns)) == rows + columns
    stack = kind.state_elements((experts, rows, columns))
    assert sympy.expand(stack) == experts * rows + experts * columns
    assert kind.state_elements((rows,)) == rows


def test_misspelt_optimizer_is_suggested() -> None:
    with pytest.raises(UnknownNameError) as error:
        optimizer("adamv")
    assert "`adamw`" in (error.value.problems[0].hint or "")
