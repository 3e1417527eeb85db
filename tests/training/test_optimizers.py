"""Optimizer state and gradients: against torch.optim and measured runs, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import sympy
import torch

from architectures.eager_reference import Case, model
from architectures.eager_traffic import Traffic
from architectures.memory_rows import Row, case, excerpt, shared_rows
from costsim.architectures.architecture import parameters
from costsim.errors import UnknownNameError
from costsim.training.optimizers import (
    OPTIMIZERS,
    UPDATE_KERNELS,
    UPDATE_PASSES,
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


def torch_optimizers(name: str, named: dict) -> list:
    """Return the optimizers of a model: beside Muon's, Adam for all but matrices of layers."""
    if name != "muon":
        return [torch_optimizer(name, list(named.values()))]
    inner = {n: w for n, w in named.items() if n.startswith("layers.") and w.ndim == 2}
    outer = [w for n, w in named.items() if n not in inner]
    return [torch.optim.Muon(inner.values()), torch.optim.Adam(outer)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"adam_8bit", "adam_4bit"}))
def test_equals_what_torch_holds(name: str, family: str, precision: str) -> None:
    run = Case(family, precision=precision, kv_heads=2 if family == "llama" else 4)
    named = dict(model(run).named_parameters())
    for weight in named.values():
        weight.grad = torch.ones_like(weight)
    made = torch_optimizers(name, named)
    for one in made:
        one.step()
    held = sum(
        value.numel() * value.element_size()
        for one in made
        for state in one.state.values()
        for key, value in state.items()
        if isinstance(value, torch.Tensor) and (key != "step" or optimizer(name).counts_steps)
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
    if optimizer(name).orthogonalizes:  # embedding and head are Adam's
        blocks = [block for block in blocks if block.part == "layer"]
    ratio = optimizer_bytes(name, blocks) / parameters(blocks)
    assert ratio == pytest.approx(state_bytes_per_parameter(name), abs=1e-3)


def test_eight_bit_states_are_a_byte_and_a_share_of_a_scale() -> None:
    """Dettmers et al. 2021 (arXiv 2110.02861): 2 bytes of states a parameter instead of 8."""
    kind = optimizer("adam_8bit")
    assert kind.state_bytes((1024, 256), 4) == 2 * (1024 * 256 + 4 * 1024)
    assert kind.state_bytes((64,), 4) == 8 * 64  # small tensors keep fp32
    assert state_bytes_per_parameter("adam_8bit") == pytest.approx(2, rel=0.02)


def test_four_bit_states_are_half_a_byte_and_a_share_of_a_scale() -> None:
    """Torchao's OptimState4bit: two values a byte, an fp32 scale for every 128."""
    kind = optimizer("adam_4bit")
    assert kind.state_bytes((1024, 256), 4) == 2 * (1024 * 256 // 2 + 4 * 1024 * 2)
    assert kind.state_bytes((64,), 4) == 8 * 64


def test_muon_takes_under_a_percent_of_a_large_step() -> None:
    """Jordan et al. 2024: T·m/B of the FLOPs, 0.7 % for NanoGPT and 0.5 % for Llama 405B."""
    import costsim
    from costsim.training.optimizers import orthogonalizing_flops

    model = costsim.load_model("llama-3.1-405b")
    blocks = model.blocks()
    muon = sum(
        flops * int(block.count)
        for flops, block in zip(orthogonalizing_flops(blocks), blocks, strict=True)
    )
    tokens = 16e6
    assert 0.002 < muon / (6 * model.parameters * tokens) < 0.01


def test_factors_of_a_matrix_and_of_a_stack() -> None:
    rows, columns, experts = sympy.symbols("r c e", positive=True)
    kind = optimizer("adafactor")
    assert kind.state_elements((rows, columns)) == rows + columns
    stack = kind.state_elements((experts, rows, columns))
    assert sympy.expand(stack) == experts * rows + experts * columns
    assert kind.state_elements((rows,)) == rows


@pytest.mark.parametrize("name", sorted(UPDATE_PASSES))
def test_updates_move_and_launch_what_torch_dispatches(name: str) -> None:
    parameters = [torch.nn.Parameter(torch.randn(64, 64)) for _ in range(3)]
    update = torch_optimizer(name, parameters)
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    update.step()  # makes the states
    with Traffic() as traffic:
        update.step()
    values = sum(parameter.numel() for parameter in parameters)
    # The counts of steps are a value each.
    assert traffic.moved_bytes / (4 * values) == pytest.approx(UPDATE_PASSES[name], rel=1e-3)
    assert traffic.kernels == len(parameters) * UPDATE_KERNELS[name]


def test_misspelt_optimizer_is_suggested() -> None:
    with pytest.raises(UnknownNameError) as error:
        optimizer("adamv")
    assert "`adamw`" in (error.value.problems[0].hint or "")
