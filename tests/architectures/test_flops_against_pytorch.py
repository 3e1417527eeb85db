"""Parameters and FLOPs of live PyTorch modules, counted by its own FlopCounterMode."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from architectures.eager_reference import Case, model

CASES = [
    Case("gpt2"),
    Case(
        "gpt2",
        layers=3,
        hidden=48,
        inner=192,
        heads=6,
        kv_heads=6,
        vocabulary=101,
        sequence=7,
        batch=1,
    ),
    Case("llama"),
    Case("llama", kv_heads=2, head_norms=True),
    Case("llama", kv_heads=1, inner=96, sequence=33, batch=2),
    Case("llama", layers=1, hidden=40, heads=5, kv_heads=5, inner=8, vocabulary=3, sequence=1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_and_backward_flops(case: Case) -> None:
    network, described = model(case), case.architecture
    ids = torch.randint(case.vocabulary, (case.batch, case.sequence))
    with FlopCounterMode(display=False) as forward:
        logits = network(ids)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    ours = described.forward_flops(case.batch, case.sequence)
    assert ours == forward.get_total_flops()
    both = described.training_flops(case.batch, case.sequence)
    assert both == forward.get_total_flops() + backward.get_total_flops()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_parameters(case: Case) -> None:
    parameters = list(model(case).parameters())
    assert case.architecture.parameters == sum(p.numel() for p in parameters)
    assert case.architecture.active_parameters == case.architecture.parameters
