"""Tensor parallelism: the degrees that frameworks refuse when they start, refused here."""

from __future__ import annotations

import pytest

from costsim.architectures import load_model
from costsim.architectures.division import Heads, divisors, heads_of
from costsim.errors import SpecError
from costsim.hardware import load_hardware
from costsim.inference import estimate_inference
from costsim.planning.workloads.serving.replicas import layouts_of
from costsim.training.space import legal_strategies, limits_of


def _held_by_ranks(queries: int, groups: int, ranks: int) -> bool:
    """Deal query heads out in order, and ask each rank which key heads it must hold."""
    if queries % ranks:
        return False
    each = queries // ranks
    of = [head * groups // queries for head in range(queries)]
    held = [set(of[rank * each : (rank + 1) * each]) for rank in range(ranks)]
    # every rank holds as many, and a head that is split over ranks is split evenly
    return len({len(one) for one in held}) == 1 and len(held[0]) * ranks == max(groups, ranks)


@pytest.mark.parametrize(
    ("queries", "groups"),
    [(40, 10), (28, 4), (96, 8), (128, 128), (64, 8), (32, 1), (12, 12), (24, 4), (71, 1), (20, 4)],
)
def test_degrees_are_those_at_which_every_rank_holds_as_much(queries: int, groups: int) -> None:
    heads = Heads(queries, (groups,))
    expected = [n for n in range(1, queries + 1) if _held_by_ranks(queries, groups, n)]
    assert list(heads.degrees) == expected
    assert all(bool(heads.refusal(n)) != (n in expected) for n in range(1, queries + 1))


def test_divisors_are_those_of_arithmetic() -> None:
    for number in (1, 2, 28, 96, 97, 3600):
        assert divisors(number) == [d for d in range(1, number + 1) if number % d == 0]


def test_layers_of_unlike_heads_divide_each() -> None:
    mixed = Heads(32, (4, 16))  # as layers of a window and without have in Gemma 4
    assert mixed.degrees == (1, 2, 4, 8, 16, 32)
    assert Heads(24, (4, 6)).degrees == (1, 2, 12, 24)


@pytest.mark.parametrize(
    ("model", "ranks", "message"),
    [
        ("phi-3-medium", 4, "10 heads of keys and values do not divide over 4"),
        ("glm-4.5", 6, "8 heads of keys and values do not divide over 6"),
        ("qwen2.5-7b", 8, "28 attention heads do not divide over 8"),
        ("deepseek-v2", 72, "128 attention heads do not divide over 72"),
    ],
)
def test_refused_alike_in_training_and_serving(model: str, ranks: int, message: str) -> None:
    described = load_model(model)
    system = load_hardware("nvidia-h100-sxm5-80gb", count=ranks)
    with pytest.raises(SpecError, match=message) as refused:
        estimate_inference(described, system, phase="decode", sequence=1024)
    degrees = heads_of(described).degrees
    assert all(f"{degree}" in str(refused.value.problems[0].hint) for degree in degrees)
    served = {layout.tp for layout in layouts_of(described, system, [ranks])}
    assert ranks not in served
    trained = legal_strategies(limits_of(described, 4096, ranks), [ranks])
    assert ranks not in set(trained.tp.tolist())
    assert set(trained.tp.tolist()) <= set(degrees)
