"""Deployments: replicas, pools apart, and the rows that a benchmark prints."""

from __future__ import annotations

import numpy as np
import pytest

from costsim.errors import SpecError
from costsim.inference.deployment import simulate, simulate_disaggregated
from costsim.inference.metrics import Distribution, Objective
from costsim.inference.traffic import random_traffic
from inference.serving_setup import deployment

TRAFFIC = random_traffic(8.0, 1500, 900, 120, spread=0.3, seed=7)


def test_totals_are_those_of_the_traffic() -> None:
    one = deployment()
    found = simulate(one, 3, TRAFFIC)
    assert found.completed == len(TRAFFIC)
    assert found.input_tokens == TRAFFIC.input_tokens.sum()
    assert found.output_tokens == TRAFFIC.output_tokens.sum()
    assert found.output_tokens_per_s == pytest.approx(found.output_tokens / found.duration_s)
    assert found.e2e.mean_s > found.ttft.mean_s > 0
    assert found.goodput_per_s == pytest.approx(found.request_per_s)
    # Positions held over time are those of requests in it, within the cache.
    assert max(part["cache_tokens"] for part in found.over_time) <= one.cache_tokens
    labels = [label for label, *_ in found.rows()]
    assert {"Mean TTFT", "Median TPOT", "P99 ITL", "Request goodput"} <= set(labels)


def test_more_replicas_serve_faster() -> None:
    one = deployment()
    waits = [simulate(one, n, TRAFFIC).e2e.mean_s for n in (1, 2, 4)]
    assert waits[0] > waits[1] > waits[2]


def test_goodput_counts_requests_within_every_bound() -> None:
    one = deployment()
    free = simulate(one, 1, TRAFFIC)
    strict = simulate(one, 1, TRAFFIC, Objective(ttft_s=free.ttft.median_s))
    assert strict.attainment_ratio == pytest.approx(0.5, abs=0.01)
    assert strict.goodput_per_s == pytest.approx(0.5 * free.request_per_s, rel=0.02)
    assert not strict.meets(Objective(percentile=99))
    both = Objective(ttft_s=free.ttft.median_s, tpot_s=free.tpot.median_s)
    assert simulate(one, 1, TRAFFIC, both).attainment_ratio <= strict.attainment_ratio


def test_pools_apart_keep_prompts_out_of_generation() -> None:
    one = deployment()
    together = simulate(one, 2, TRAFFIC)
    apart = simulate_disaggregated(one, 1, one, 1, TRAFFIC)
    assert apart.output_tokens == together.output_tokens
    # Steps are longer with twice the requests in them, but no prompt stands between two tokens.
    assert apart.itl.p99_s < together.itl.p99_s
    assert apart.completed == len(TRAFFIC)
    with pytest.raises(SpecError, match="both pools"):
        simulate_disaggregated(one, 0, one, 1, TRAFFIC)


def test_the_next_token_waits_for_the_cache_to_travel() -> None:
    one = deployment()
    alone = random_traffic(0.01, 20, 8000, 2, seed=1)
    apart = simulate_disaggregated(one, 1, one, 1, alone)
    sent = 8000 * one.token_bytes / one.system.tiers[-1].bandwidth_bytes_per_s
    assert apart.tpot.mean_s == pytest.approx(sent + one.times.base_s[1], rel=0.1)


def test_no_replica_is_an_error() -> None:
    with pytest.raises(SpecError, match="at least 1, not 0"):
        simulate(deployment(), 0, TRAFFIC)


def test_weights_count_values_several_times() -> None:
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    repeated = np.repeat(values, weights.astype(int))
    found, plain = Distribution.of(values, weights), Distribution.of(repeated)
    assert found.mean_s == pytest.approx(plain.mean_s)
    assert found.std_s == pytest.approx(plain.std_s)
    assert found.median_s == 2.0
    assert found.p99_s == 3.0
