"""Experts of the busiest rank against routing drawn at random."""

from __future__ import annotations

import numpy as np
import pytest

from costsim.hardware.grouped import busiest_rows, busiest_touched, largest_of, touched_experts


@pytest.mark.parametrize(
    ("experts", "top_k", "ranks", "tokens"),
    [(16, 1, 8, 8), (16, 1, 4, 8), (128, 8, 8, 8), (128, 8, 4, 32), (256, 8, 32, 64)],
)
def test_the_busiest_rank_is_as_busy_as_drawn(
    experts: int, top_k: int, ranks: int, tokens: int
) -> None:
    random = np.random.default_rng(0)
    touched: list[float] = []
    rows: list[float] = []
    for _ in range(300):
        drawn = np.array([random.permutation(experts)[:top_k] for _ in range(tokens)])
        counts = np.bincount(drawn.ravel(), minlength=experts).reshape(ranks, -1)
        touched.append((counts > 0).sum(axis=1).max())
        rows.append(counts.sum(axis=1).max() * ranks / (tokens * top_k))
    assert busiest_touched(tokens, experts, top_k, ranks) == pytest.approx(
        np.mean(touched), rel=0.05
    )
    assert busiest_rows(tokens, top_k, ranks) == pytest.approx(np.mean(rows), rel=0.15)


def test_one_rank_is_as_busy_as_the_mean() -> None:
    tokens = np.array([1.0, 7.0, 900.0])
    assert busiest_touched(tokens, 64, 4, 1) == pytest.approx(touched_experts(tokens, 64, 4, 1))
    assert busiest_rows(tokens, 4, 1) == pytest.approx(1.0)


def test_the_largest_of_normal_draws() -> None:
    random = np.random.default_rng(1)
    for draws in (2, 8, 64):
        mean = random.normal(size=(20_000, draws)).max(axis=1).mean()
        assert largest_of(draws) == pytest.approx(mean, rel=0.02)
