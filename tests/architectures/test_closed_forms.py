"""The published closed forms, proved: costsim's own functions over symbols give them."""

from __future__ import annotations

from typing import Any

import pytest
import sympy

from costsim.architectures.activations import saved_bytes
from costsim.architectures.architecture import (
    backward_flops,
    cache_bytes,
    forward_flops,
    parameters,
)
from costsim.architectures.block import Block
from costsim.architectures.decoder import decoder
from costsim.architectures.transformer import Transformer
from costsim.architectures.workload import Execution, Shard, Workload

# n is the heads of one device, so that a = n·t heads divide by tensor parallelism
L, h, n, V, s, b, t, k, d, f = sympy.symbols("L h n V s b t k d f", positive=True, integer=True)
a = n * t

# Korthikanti et al. keep scores, softmax and dropout in memory, and train with dropout
MEGATRON = Execution(attention="unfused", dropout=True)


def _gpt() -> Transformer:
    """GPT as Megatron-LM builds it, with as many positions as the sequence has tokens."""
    return decoder(layers=L, hidden=h, heads=a, vocabulary=V, max_positions=s, dropout=True)


def _layer(shard: Shard | None = None) -> Block:
    block = next(block for block in _gpt().blocks(Workload(b, s)) if block.part == "layer")
    return block.shard(shard) if shard else block


def _part(name: str) -> Block:
    return next(block for block in _gpt().blocks(Workload(b, s)) if block.part == name)


def _equal(left: Any, right: Any) -> bool:
    return sympy.expand(left - right) == 0


def test_parameters_of_narayanan_2021_equation_2() -> None:
    published = 12 * L * h**2 * (1 + sympy.Rational(13, 12) / h + (V + s) / (12 * L * h))
    # the paper leaves out the norm before the head
    assert _equal(parameters(_gpt().blocks(Workload(b, s))), published + 2 * h)


def test_flops_of_narayanan_2021() -> None:
    blocks = _gpt().blocks(Workload(b, s))
    without_recompute = 72 * b * s * L * h**2 * (1 + s / (6 * h) + V / (12 * L * h))
    assert _equal(forward_flops(blocks) + backward_flops(blocks), without_recompute)


def test_flops_of_narayanan_2021_equation_3_with_full_recompute() -> None:
    blocks = _gpt().blocks(Workload(b, s))
    layers = tuple(block for block in blocks if block.part == "layer")
    ours = forward_flops(blocks) + backward_flops(blocks) + forward_flops(layers)
    published = 96 * b * s * L * h**2 * (1 + s / (6 * h) + V / (16 * L * h))
    assert _equal(ours, published)


@pytest.mark.parametrize(
    ("shard", "published"),
    [
        (None, s * b * h * (34 + 5 * a * s / h)),
        (Shard(tp=t), s * b * h * (10 + 24 / t + 5 * a * s / (h * t))),
        (Shard(tp=t, sp=True), s * b * h / t * (34 + 5 * a * s / h)),
    ],
    ids=["one device, equation 1", "TP, equation 2", "TP and SP, equation 4"],
)
def test_activation_bytes_of_korthikanti_2022(shard: Shard | None, published: Any) -> None:
    assert _equal(saved_bytes(_layer(shard), "fp16", MEGATRON), published)


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_selective_recompute_drops_the_quadratic_term(dtype: str) -> None:
    block = _layer(Shard(tp=t, sp=True))
    widths = {"mask": 1, "compute": 2}
    kept = sum(
        tensor.elements * widths[tensor.storage]
        for tensor in block.saved(MEGATRON)
        if not tensor.inner
    )
    assert _equal(kept, 34 * s * b * h / t)
    dropped = saved_bytes(block, dtype, MEGATRON) - kept
    assert _equal(dropped, 5 * a * s**2 * b / t)


def test_full_recompute_keeps_the_input_of_each_layer() -> None:
    assert _equal(2 * _layer().source.elements, 2 * s * b * h)
    assert _equal(2 * _layer(Shard(tp=t, sp=True)).source.elements, 2 * s * b * h / t)


def test_head_of_korthikanti_2022_section_4_3() -> None:
    # norm 2sbh, product 2sbh, logits in fp32 4sbV
    assert _equal(saved_bytes(_part("head"), "fp16", MEGATRON), 4 * s * b * h * (1 + V / h))


def test_embedding_keeps_its_dropout_mask() -> None:
    stem = _part("stem").saved(MEGATRON)
    assert _equal(sum(t.elements for t in stem if t.storage == "mask"), s * b * h)


def test_six_n_flops_a_token() -> None:
    """Kaplan et al. 2020: 6N for the matrices, and attention's 12·L·h·s."""
    model = decoder(
        layers=L, hidden=h, heads=a, vocabulary=V, tied=False, positions="rotary", bias=False
    )
    blocks = model.blocks(Workload(b, s))
    matrices = sum(
        block.count * weight.elements
        for block in blocks
        for weight in block.weights()
        if weight.matrix and not weight.lookup
    )
    ours = forward_flops(blocks) + backward_flops(blocks)
    assert _equal(ours, (6 * matrices + 12 * L * h * s) * b * s)


def test_key_value_cache() -> None:
    model = decoder(
        layers=L, hidden=h, heads=k * n, kv_heads=k, head_dim=d, vocabulary=V, positions="rotary"
    )
    assert _equal(cache_bytes(model, b, s, "bf16"), 2 * L * k * d * s * b * 2)


def test_gated_network_of_two_thirds_the_width_costs_the_same() -> None:
    """Shazeer 2020 (arXiv 2002.05202) shrinks gated networks to 2/3 to keep the cost."""
    plain = decoder(
        layers=L, hidden=h, heads=a, vocabulary=V, feed_forward=3 * f, bias=False, max_positions=s
    )
    gated = decoder(
        layers=L,
        hidden=h,
        heads=a,
        vocabulary=V,
        feed_forward=2 * f,
        gated=True,
        bias=False,
        max_positions=s,
    )
    for total in (parameters, forward_flops, backward_flops):
        assert _equal(total(plain.blocks(Workload(b, s))), total(gated.blocks(Workload(b, s))))


def test_as_many_key_heads_as_query_heads_is_multi_head_attention() -> None:
    grouped = decoder(layers=L, hidden=h, heads=a, kv_heads=k, vocabulary=V, max_positions=s)
    plain = decoder(layers=L, hidden=h, heads=a, vocabulary=V, max_positions=s)
    for total in (parameters, forward_flops, backward_flops):
        reduced = total(grouped.blocks(Workload(b, s))).subs(k, a)
        assert _equal(reduced, total(plain.blocks(Workload(b, s))))
