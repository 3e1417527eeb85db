"""The closed form: laws of queues, bounds of physics, and agreement with the simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim import load_hardware, load_model
from costsim.inference.deployment import simulate
from costsim.inference.engines import load_engine
from costsim.inference.layout import Layout, Layouts, Quantization
from costsim.inference.passes import ServedModel
from costsim.inference.steady import Requests, Server, closed_loop, open_loop
from costsim.inference.tables import BATCHES, CONTEXTS, TOKENS, Tables, along
from costsim.inference.traffic import random_traffic
from inference.serving_setup import deployment

SERVED = deployment()


def requests(inputs: float, outputs: float, rows: int = 1) -> Requests:
    return Requests(np.full(rows, inputs), np.full(rows, outputs))


@given(
    st.floats(1, 500),
    st.floats(16, 20_000),
    st.floats(2, 4000),
    st.sampled_from(["vllm", "sglang"]),
)
def test_users_are_those_in_a_request(
    users: float, inputs: float, outputs: float, engine: str
) -> None:
    found = closed_loop(
        SERVED.tables,
        load_engine(engine),
        np.array([0]),
        np.array([users]),
        requests(inputs, outputs),
    )
    # Little: users = rate · time of a request.
    cycle = found.ttft_s + (outputs - 1) * found.tpot_s
    assert found.requests_per_s[0] * cycle[0] == pytest.approx(users)
    assert 0 <= found.prompt_share[0] < 1


def test_a_step_is_no_faster_than_memory_allows() -> None:
    model, bandwidth = SERVED.model, SERVED.system.accelerator.memory_bandwidth_bytes_per_s
    users = np.array([1.0, 8.0, 64.0])
    server = Server(
        SERVED.tables, SERVED.engine, np.zeros(3, dtype=np.intp), requests(1000, 200, 3)
    )
    weights = 2 * (model.parameters - model.embedding_parameters)
    cached = users * model.cache_bytes(1, 1100, "bf16")
    # Kernels in a step may overlap (kernel_ratio below 1), so by that share at most.
    floor = (weights + cached) / bandwidth * min(1.0, SERVED.engine.kernel_ratio)
    assert (server.turns(users).step_s >= floor).all()


def test_more_users_mean_more_tokens_and_longer_waits() -> None:
    users = np.array([1.0, 2, 4, 8, 16, 32, 64, 128, 256])
    rows = np.zeros(len(users), dtype=np.intp)
    found = closed_loop(SERVED.tables, SERVED.engine, rows, users, requests(1024, 512, len(users)))
    assert (np.diff(found.output_tokens_per_s) > 0).all()
    assert (np.diff(found.tpot_s) >= 0).all()
    assert (np.diff(found.ttft_s) > 0).all()


def test_beyond_its_capacity_an_open_queue_grows_without_end() -> None:
    rates = np.array([0.5, 5.0, 5000.0])
    found = open_loop(
        SERVED.tables,
        SERVED.engine,
        np.zeros(3, dtype=np.intp),
        rates,
        np.full(3, 500.0),
        requests(1024, 256, 3),
    )
    assert found.ttft_s[0] < found.ttft_s[1] < np.inf
    assert found.ttft_s[2] == np.inf


@pytest.mark.parametrize("rate", [1.0, 4.0, 8.0])
def test_the_closed_form_of_a_rate_is_near_the_simulation(rate: float) -> None:
    traffic = random_traffic(rate, 3000, 1000, 200, seed=4)
    simulated = simulate(SERVED, 1, traffic)
    found = open_loop(
        SERVED.tables,
        SERVED.engine,
        np.array([0]),
        np.array([rate]),
        np.array([500.0]),
        requests(1000, 200),
    )
    assert found.tpot_s[0] == pytest.approx(simulated.tpot.mean_s, rel=0.15)
    assert found.ttft_s[0] == pytest.approx(simulated.ttft.mean_s, rel=0.3)


def test_tables_hold_what_a_pass_takes_and_are_straight_between() -> None:
    served = ServedModel(load_model("llama3-8b"), load_hardware("h100"), Quantization())
    layouts = Layouts.of([Layout(), Layout(tp=2, moe_tp=2)])
    tables = Tables.build(served, layouts)
    both = layouts.take(np.array([0, 1]))
    at = np.array([96.0, 96.0])
    direct = served.token_pass(both, at).total_s
    assert along(TOKENS, tables.tokens(1.0), np.array([0, 1]), at) == pytest.approx(direct)
    decode = served.decode_attention_s(both, np.full(2, BATCHES[4]), np.full(2, CONTEXTS[7]))
    assert tables.contexts(np.array([0, 1]), np.full(2, CONTEXTS[7]))[:, 4] == pytest.approx(decode)
    between = along(BATCHES, tables.heads_s, np.array([0]), np.array([20.0, 24.0]))
    near = served.head_s(layouts.take(np.array([0, 0])), np.array([20.0, 24.0]))
    assert between == pytest.approx(near, rel=0.05)


def test_few_tokens_touch_few_experts_and_many_touch_all() -> None:
    model = load_model("mixtral-8x7b")
    served = ServedModel(model, load_hardware("h100"), Quantization())
    layouts = Layouts.of([Layout(tp=2, moe_tp=2)] * 3)
    found = served.token_pass(layouts, np.array([1.0, 8.0, 64.0])).experts_s
    # One token reads 2 of 8 experts, 64 read all: about four times the bytes.
    assert 2.0 < found[2] / found[0] < 5.0
    assert found[0] < found[1] < found[2]
