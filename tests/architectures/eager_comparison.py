"""Operators against what eager PyTorch dispatches for the modules that they describe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from architectures.eager_traffic import Traffic
from costsim.architectures.operators import Operator
from costsim.architectures.work import Direction, Gemm, ScaledDotProduct, Stream
from costsim.architectures.workload import Execution
from costsim.hardware.attention import DROPOUT_BYTES, MASK_BYTES, SOFTMAX_BYTES
from costsim.hardware.timing import TIMINGS

BATCH, TOKENS, WIDTH = 4, 64, 512
ROWS = BATCH * TOKENS
SMALL = 0.025

FP32, BF16, AUTOCAST = (
    Execution(style="eager", attention="unfused", low_precision=low, autocast=autocast)
    for low, autocast in ((False, False), (True, False), (True, True))
)
NAMES = {FP32: "fp32", BF16: "bf16", AUTOCAST: "autocast"}
every_format = pytest.mark.parametrize("execution", [FP32, BF16, AUTOCAST], ids=NAMES.get)
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")


def leaf(execution: Execution, *shape: int, stream: bool = False) -> Tensor:
    """Return an activation: of the residual stream, or one that a product has made."""
    wide = not execution.low_precision or (stream and execution.autocast)
    made = torch.randn(*shape, dtype=torch.float32 if wide else torch.bfloat16)
    return made.requires_grad_()


def weights(execution: Execution, module: nn.Module) -> nn.Module:
    return module.to(torch.bfloat16) if execution == BF16 else module


def measured(
    execution: Execution, run: Callable[[], Tensor | list[Tensor]], sources: Sequence[Tensor]
) -> tuple[Traffic, Traffic]:
    """Return what a forward pass and the backward pass to `sources` run."""
    # The cache would keep copies of weights for a second use, which no weight here has.
    autocast = torch.autocast(
        "cpu", torch.bfloat16, enabled=execution.autocast, cache_enabled=False
    )
    with autocast, Traffic() as forward:
        made = run()
    outputs = [made] if isinstance(made, Tensor) else made
    gradients = [torch.ones_like(output) for output in outputs]
    with Traffic() as backward:
        torch.autograd.grad(outputs, sources, gradients)
    return forward, backward


def check(
    operators: Sequence[Operator],
    execution: Execution,
    found: tuple[Traffic, Traffic],
    tolerance: float = SMALL,
    unlaunched: tuple[int, int] = (0, 0),
) -> None:
    """Compare kernels, values and products of operators with what ran.

    `unlaunched` counts the kernels, forward and backward, that the rules leave out.
    """
    element_bytes = 2 if execution.low_precision else 4
    for direction, traffic, missed in zip(DIRECTIONS, found, unlaunched, strict=True):
        kernels, values, products = 0.0, 0.0, Counter[tuple[int, ...]]()
        for work in (w for o in operators for w in o.work(direction, execution)):
            launched = TIMINGS[type(work)].kernels(work, execution)
            match work:
                case Gemm(m, n, k, count):
                    products[(*sorted((m, n, k)), count)] += 1
                    launched = 0
                case Stream(elements):
                    values += elements
                case ScaledDotProduct():
                    launched -= _add_products(work, products)
                    values += _softmax_values(work, execution, element_bytes)
                case _:
                    raise AssertionError(work)
            kernels += launched
        assert kernels == traffic.kernels - missed, (direction, kernels, names(traffic))
        assert values == pytest.approx(traffic.moved_bytes / element_bytes, rel=tolerance), (
            direction
        )
        assert products == Counter((*sorted(p[:3]), p[3]) for p in traffic.products)


def names(traffic: Traffic) -> list[str]:
    return [operation.name for operation in traffic.found]


def _add_products(work: ScaledDotProduct, products: Counter[tuple[int, ...]]) -> int:
    """Add attention's products, and return how many they are."""
    q, k, d, v = work.query_tokens, work.kv_tokens, work.head_dim, work.value_dim
    each = 1 if work.direction == "forward" else 2
    products[(*sorted((q, k, d)), work.batch * work.query_heads)] += each
    products[(*sorted((q, k, v)), work.batch * work.query_heads)] += each
    return 2 * each


def _softmax_values(work: ScaledDotProduct, execution: Execution, element_bytes: int) -> float:
    """Return what `costsim.hardware.attention` counts between unfused products, in values."""
    scores = work.batch * work.query_heads * work.query_tokens * work.kv_tokens
    bytes_each = SOFTMAX_BYTES[work.direction] * element_bytes / 2
    if execution.dropout:
        bytes_each += DROPOUT_BYTES * element_bytes / 2 + MASK_BYTES
    return scores * bytes_each / element_bytes
