"""What eager PyTorch moves and launches: against the operations that PyTorch itself dispatches.

Each reference is written as the modelling code of Hugging Face transformers is. Kernels are equal;
values too where all tensors have the size of the activations. Elsewhere the rules leave out what
is one a row or one a column (statistics, weights of norms, biases, indices, tables of a rotation,
the column of zeros of a shift), less than `SMALL` at the sizes here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.eager_comparison import (
    AUTOCAST,
    BATCH,
    BF16,
    FP32,
    NAMES,
    ROWS,
    SMALL,
    TOKENS,
    WIDTH,
    check,
    every_format,
    leaf,
    measured,
    weights,
)
from architectures.eager_reference import ACTIVATIONS, RmsNorm
from costsim.architectures.operators import (
    Attention,
    Columns,
    CrossEntropy,
    Elementwise,
    Embedding,
    Linear,
    Norm,
    Operator,
    Residual,
    Rotary,
)
from costsim.architectures.operators.eager import FUNCTIONS
from costsim.architectures.operators.relative import RelativePositions
from costsim.architectures.workload import Execution


@every_format
def test_layer_norm(execution: Execution) -> None:
    module = weights(execution, nn.LayerNorm(WIDTH))
    source = leaf(execution, BATCH, TOKENS, WIDTH, stream=True)
    found = measured(execution, lambda: module(source), [source, *module.parameters()])
    check([Norm(name="norm", source="x", rows=ROWS, width=WIDTH)], execution, found)


@pytest.mark.parametrize("heads", [False, True])
@every_format
def test_rms_norm(execution: Execution, heads: bool) -> None:
    groups, width = (8, WIDTH // 8) if heads else (1, WIDTH)
    module = weights(execution, RmsNorm(width))
    source = leaf(execution, BATCH, TOKENS, groups, width, stream=not heads)
    found = measured(execution, lambda: module(source), [source, *module.parameters()])
    operator = Norm(
        name="norm",
        source="x",
        rows=ROWS,
        width=width,
        groups=groups,
        kind="rms",
        bias=False,
        split="heads" if heads else "sequence",
    )
    # Statistics of the shorter vectors of heads are eight times as many.
    check([operator], execution, found, 0.1 if heads else SMALL)


def _powered(execution: Execution, x: Tensor) -> Tensor:
    """Return the base of a power, which autocast on a GPU computes in fp32, unlike on a CPU."""
    return x.float() if execution.autocast else x


def gelu_new(execution: Execution, x: Tensor) -> Tensor:
    cube = _powered(execution, x).pow(3)
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * cube)))


def reference(function: str) -> Callable[[Execution, Tensor], Tensor]:
    if function in ACTIVATIONS:
        return lambda execution, x: ACTIVATIONS[function](x)
    return {
        "gelu_new": gelu_new,
        "relu2": lambda execution, x: torch.square(_powered(execution, F.relu(x))),
    }[function]


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("function", sorted(FUNCTIONS))
@every_format
def test_activation_function(execution: Execution, function: str, gated: bool) -> None:
    gate, up = (leaf(execution, ROWS, WIDTH) for _ in range(2))

    def run() -> Tensor:
        found = reference(function)(execution, gate)
        # The next product casts what is in fp32.
        return (found * up if gated else found).to(gate.dtype)

    operator = Elementwise(
        name="activation",
        rows=ROWS,
        read=(1 + gated) * WIDTH,
        written=WIDTH,
        function=function,
        gated=gated,
    )
    found = measured(execution, run, [gate, up] if gated else [gate])
    check([operator], execution, found, tolerance=0)


# Autocast on a CPU, which draws masks in 16 bits and casts them, is not modelled.
@pytest.mark.parametrize(
    ("execution", "device"), [*product([FP32, BF16], ["cpu", "gpu"]), (AUTOCAST, "gpu")]
)
@pytest.mark.parametrize("drops", [False, True])
def test_residual(execution: Execution, drops: bool, device: str) -> None:
    """One addition forward; backward that of the gradients of both branches."""
    execution = replace(execution, dropout=drops, device=device)
    stream, branch = leaf(execution, ROWS, WIDTH, stream=True), leaf(execution, ROWS, WIDTH)

    def run() -> list[Tensor]:
        dropped = branch
        if drops:
            on_gpu = device == "gpu"
            dropped = (
                torch.native_dropout(branch, 0.1, True)[0] if on_gpu else F.dropout(branch, 0.1)
            )
        return [stream + dropped, stream.view_as(stream)]  # the next layer reads both

    found = measured(execution, run, [stream, branch])
    operator = Residual(name="residual", rows=ROWS, width=WIDTH, dropout=True)
    check([operator], execution, found, tolerance=0)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("split", ["row", "column"])
@every_format
def test_linear(
    execution: Execution, split: Literal["row", "column"], separate: bool, bias: bool
) -> None:
    sizes = (WIDTH, WIDTH // 2, WIDTH // 2) if separate else (2 * WIDTH,)
    module = weights(execution, nn.ModuleList(nn.Linear(WIDTH, n, bias=bias) for n in sizes))
    source = leaf(execution, BATCH, TOKENS, WIDTH, stream=split == "column")
    found = measured(
        execution,
        lambda: [project(source) for project in module],
        [source, *module.parameters()],
    )
    operator = Linear(
        name="linear",
        source="x",
        rows=ROWS,
        inputs=WIDTH,
        columns=tuple(Columns(n, n) for n in sizes),
        bias=bias,
        separate=separate,
        split=split,
    )
    check([operator], execution, found)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    rotated = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * cosine + rotated * sine


@every_format
def test_rotary(execution: Execution) -> None:
    heads, dim = 8, 64
    pair = [leaf(execution, 2 * BATCH, TOKENS, heads, dim) for _ in range(2)]
    tables = [leaf(execution, 1, 1, TOKENS, dim, stream=True).detach() for _ in range(2)]
    found = measured(
        execution,
        # The products that follow cast what they read.
        lambda: [rotate(x.transpose(1, 2), *tables).to(x.dtype) for x in pair],
        pair,
    )
    operator = Rotary(
        name="rotary",
        rows=2 * ROWS,
        read=2 * heads * dim,
        written=2 * heads * dim,
        tokens=TOKENS,
        dim=dim,
    )
    check([operator], execution, found)


class SelfAttention(nn.Module):
    """Projections, rotation and attention as `eager_attention_forward` has it."""

    def __init__(self, execution: Execution, kv_heads: int, llama: bool):
        super().__init__()
        self.execution, self.llama = execution, llama
        widths = (WIDTH, kv_heads * DIM, kv_heads * DIM)
        self.projections = nn.ModuleList(nn.Linear(WIDTH, n, bias=False) for n in widths)
        self.output = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (
            project(x).view(*x.shape[:2], -1, DIM).transpose(1, 2) for project in self.projections
        )
        if self.llama:
            query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        key, value = (self._repeated(x, query.shape[1]) for x in (key, value))
        scores = torch.matmul(query, key.transpose(2, 3)) * DIM**-0.5
        scores = scores + mask
        if self.llama:
            shares = F.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        else:
            shares = F.softmax(scores, dim=-1).type(value.dtype)
        if self.execution.dropout:
            shares = torch.native_dropout(shares, 0.1, True)[0]
        context = torch.matmul(shares, value).transpose(1, 2).contiguous()
        return self.output(context.reshape(*x.shape[:2], -1).contiguous())

    @staticmethod
    def _repeated(x: Tensor, heads: int) -> Tensor:
        batch, held, tokens, dim = x.shape
        if held == heads:
            return x
        x = x[:, :, None].expand(batch, held, heads // held, tokens, dim)
        return x.reshape(batch, heads, tokens, dim)


DIM = 32


@pytest.mark.parametrize(
    ("llama", "kv_heads", "drops"),
    [*product([False, True], [16], [False, True]), (True, 4, False), (True, 4, True)],
)
@every_format
def test_self_attention(execution: Execution, llama: bool, kv_heads: int, drops: bool) -> None:
    """The whole mixer, so that what flows between its operators has the layout that it has."""
    execution = replace(execution, dropout=drops)
    heads, tokens = WIDTH // DIM, 3 * TOKENS
    rows = BATCH * tokens
    torch.manual_seed(0)
    module = SelfAttention(execution, kv_heads, llama)
    if execution.low_precision and not execution.autocast:
        module = module.to(torch.bfloat16)
    x = leaf(execution, BATCH, tokens, WIDTH, stream=True)
    tables = [torch.ones(1, 1, tokens, DIM, dtype=x.dtype) for _ in range(2)]
    mask = torch.zeros(BATCH, 1, tokens, tokens, dtype=x.dtype)
    found = measured(execution, lambda: module(x, *tables, mask), [x, *module.parameters()])
    sizes = [(n, n) for n in (WIDTH, kv_heads * DIM, kv_heads * DIM)]
    rotated = (heads + kv_heads) * DIM
    rotary = Rotary(name="rotary", rows=rows, read=rotated, written=rotated, tokens=tokens, dim=DIM)
    operators: list[Operator] = [
        Linear(
            name="attention.query_key_value",
            source="x",
            rows=rows,
            inputs=WIDTH,
            columns=tuple(Columns(*size) for size in sizes),
            separate=True,
            split="column",
        ),
        *([rotary] if llama else []),
        Attention(
            name="attention",
            batch=BATCH,
            query_heads=heads,
            kv_heads=kv_heads,
            tokens=tokens,
            context=tokens,
            head_dim=DIM,
            value_dim=DIM,
            dropout=True,
            float32_softmax=llama,
        ),
        Linear.of("attention.output", "attention", rows, WIDTH, WIDTH, split="row"),
    ]
    # The sums of gradients over heads that share keys, and values, are two launches. Autocast
    # repeats keys in fp32 and then casts them, which the rule counts as the other way round.
    shared = kv_heads < heads
    tolerance = 0.04 if shared and execution.autocast else SMALL
    check(operators, execution, found, tolerance, unlaunched=(0, 2) if shared else (0, 0))


@pytest.mark.parametrize("execution", [FP32, BF16], ids=NAMES.get)
def test_cross_entropy(execution: Execution) -> None:
    classes = 5000
    logits = leaf(execution, BATCH, TOKENS, classes)
    targets = torch.randint(classes, (BATCH, TOKENS))
    forward, backward = measured(
        execution,
        lambda: F.cross_entropy(logits.float().view(-1, classes), targets.view(-1)),
        [logits],
    )
    operator = CrossEntropy(name="loss", source="logits", rows=ROWS, classes=classes)
    check([operator], replace(execution, device="cpu"), (forward, backward))
    # A GPU reads rows twice more for the softmax, and both factors of its gradient once more.
    full = 1 + execution.low_precision
    for direction, more in (("forward", 2), ("backward", 2)):
        values = [
            sum(work.elements for work in operator.work(direction, how))
            for how in (execution, replace(execution, device="cpu"))
        ]
        assert values[0] - values[1] == more * full * ROWS * classes


@pytest.mark.parametrize("positions", [False, True])
@every_format
def test_embedding(execution: Execution, positions: bool) -> None:
    entries = 1000
    module = weights(execution, nn.Embedding(entries, WIDTH))
    ids = torch.arange(TOKENS)[None] if positions else torch.randint(entries, (BATCH, TOKENS))
    summed = leaf(execution, BATCH, TOKENS, WIDTH, stream=True)
    forward, backward = measured(
        execution,
        lambda: summed + module(ids) if positions else module(ids),
        [*module.parameters()],
    )
    if positions:  # the addition is the residual's that follows
        forward.found.pop()
    operator = Embedding(
        name="embedding",
        rows=ROWS,
        entries=entries,
        width=WIDTH,
        vocabulary=not positions,
        looked_up=TOKENS if positions else None,
    )
    check([operator], execution, (forward, backward))


@pytest.mark.parametrize("execution", [FP32, BF16], ids=NAMES.get)
def test_relative_positions(execution: Execution) -> None:
    """Transformer-XL's `_rel_shift`, its scores' addition and the distances' projection."""
    tokens, heads, dim = 96, 8, 32
    query = leaf(execution, tokens, BATCH, heads, dim)
    distances = leaf(execution, tokens, WIDTH).detach()
    module = weights(execution, nn.Linear(WIDTH, heads * dim, bias=False))
    content = leaf(execution, tokens, tokens, BATCH, heads)

    def run() -> list[Tensor]:
        projected = module(distances).view(tokens, heads, dim)
        scores = torch.einsum("ibnd,jnd->ijbn", query, projected)
        zeros = torch.zeros((tokens, 1, BATCH, heads), dtype=scores.dtype)
        padded = torch.cat([zeros, scores], dim=1).view(tokens + 1, tokens, BATCH, heads)
        # Queries are read by the scores of content too.
        return [content + padded[1:].view_as(scores), query.view_as(query)]

    found = measured(execution, run, [query, content, *module.parameters()])
    operator = RelativePositions(
        name="relative",
        batch=BATCH,
        tokens=tokens,
        context=tokens,
        inputs=WIDTH,
        heads=heads,
        head_dim=dim,
    )
    check([operator], execution, found)
