"""Speculative decoding: what it saves while memory bounds a step, and costs when products do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from costsim.errors import SpecError
from costsim.inference.deployment import Deployment, simulate
from costsim.inference.engines import Speculation
from costsim.inference.simulation import Limits, simulate_replica
from costsim.inference.steady import Requests, closed_loop
from costsim.inference.traffic import random_traffic
from inference.serving_setup import deployment

PLAIN = deployment()


def drafting(tokens: int, accepted: float, draft_ratio: float = 0.05) -> Deployment:
    drafts = Speculation(tokens, accepted, draft_ratio)
    return replace(PLAIN, engine=replace(PLAIN.engine, speculation=drafts))


def tpot(one: Deployment, users: float) -> float:
    requests = Requests(np.array([512.0]), np.array([512.0]))
    found = closed_loop(one.tables, one.engine, np.array([0]), np.array([users]), requests)
    return float(found.tpot_s[0])


def test_a_lone_user_gains_about_as_many_tokens_as_are_accepted() -> None:
    # A step that checks four tokens reads the same weights as one that makes one.
    gained = tpot(PLAIN, 1.0) / tpot(drafting(3, 2.5, 0.0), 1.0)
    assert gained == pytest.approx(2.5, rel=0.1)


def test_with_many_users_checking_costs_what_it_saves() -> None:
    few = tpot(PLAIN, 1.0) / tpot(drafting(3, 2.0), 1.0)
    many = tpot(PLAIN, 512.0) / tpot(drafting(3, 2.0), 512.0)
    assert many < few
    assert tpot(drafting(3, 1.0), 64.0) > tpot(PLAIN, 64.0)


def test_the_simulation_gains_what_the_closed_form_does() -> None:
    traffic = random_traffic(0.05, 100, 512, 400, seed=2)
    drafts = drafting(3, 2.5)
    simulated = simulate(PLAIN, 1, traffic).tpot.mean_s / simulate(drafts, 1, traffic).tpot.mean_s
    assert simulated == pytest.approx(tpot(PLAIN, 1.0) / tpot(drafts, 1.0), rel=0.05)


@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 80)), min_size=1, max_size=20),
    st.floats(1.0, 4.0),
    st.integers(420, 900),
)
@example([(99, 3), (300, 2)], 1.0000000000000002, 434)  # full to the last position, but rounded
def test_the_cache_is_never_too_full(
    rows: list[tuple[int, int]], accepted: float, cache: int
) -> None:
    inputs, outputs = (np.array(column) for column in zip(*rows, strict=True))
    times = replace(drafting(3, accepted).times, receive_s=0.0)
    served = simulate_replica(
        times, Limits(8, 400, cache, 16), np.arange(len(rows)) * 0.01, inputs, outputs
    )
    assert (served.end_s > 0).all()
    assert served.segment_positions.max(initial=0.0) <= cache + 1e-6
    assert served.segment_positions.min(initial=0.0) >= -1e-6


@pytest.mark.parametrize(("tokens", "accepted"), [(2, 3.5), (0, 1.5), (3, 0.5)])
def test_no_more_is_accepted_than_is_drafted(tokens: int, accepted: float) -> None:
    with pytest.raises(SpecError, match="yields from 1 to"):
        Speculation(tokens, accepted)
