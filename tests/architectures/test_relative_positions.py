"""Attention with Transformer-XL's relative positions, as Gopher and Chinchilla have it."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from costsim.architectures.operators.relative import RelativePositions
from costsim.architectures.workload import FUSED, Shard


def test_work_is_what_pytorch_counts() -> None:
    batch, tokens, hidden, heads, dim = 3, 5, 24, 4, 7
    project = nn.Linear(hidden, heads * dim, bias=False)
    queries = torch.randn(batch, heads, tokens, dim, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        distances = project(torch.randn(tokens, hidden)).view(tokens, heads, dim).transpose(0, 1)
        scores = queries @ distances.transpose(1, 2)
    with FlopCounterMode(display=False) as backward:
        scores.sum().backward()
    operator = RelativePositions(
        name="relative",
        batch=batch,
        tokens=tokens,
        context=tokens,
        inputs=hidden,
        heads=heads,
        head_dim=dim,
    )
    assert sum(work.flops for work in operator.work("forward")) == forward.get_total_flops()
    assert sum(work.flops for work in operator.work("backward")) == backward.get_total_flops()
    (weight,) = operator.weights()
    assert weight.elements == project.weight.numel()
    part = operator.shard(Shard(tp=4))
    assert 4 * part.weights()[0].elements == weight.elements
    assert 4 * part.saved(FUSED)[0].elements == operator.saved(FUSED)[0].elements
