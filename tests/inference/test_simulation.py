"""The simulation against queueing theory, a step-by-step reference, and conservation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import heappop, heappush

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from costsim.errors import SpecError
from costsim.inference.simulation import Limits, Served, simulate_replica
from costsim.inference.step_times import StepTimes

MOST = 64


def step_times(
    base_s: float, slope_s: float = 0.0, token_s: float = 0.0, launch_s: float = 0.0
) -> StepTimes:
    """Return times that are linear in everything, and no attention of prompts."""
    return StepTimes(
        base_s=[base_s] * (MOST + 1),
        slope_s=[slope_s] * (MOST + 1),
        tokens_s=[token_s * n for n in range(20_000)],
        launch_s=launch_s,
        receive_s=0.0,
        lengths=np.array([1.0, 1e6]),
        attention_s=np.zeros(2),
        prompt_ratio=1.0,
    )


def waits(served: Served, arrival: np.ndarray) -> float:
    return float(np.mean(served.first_s - arrival))


def test_one_server_with_constant_service_waits_as_m_d_1() -> None:
    random = np.random.default_rng(1)
    n, load, service = 1_000_000, 0.5, 1.0
    arrival = np.cumsum(random.exponential(service / load, n))
    # A prompt of 100 tokens takes one second; one request at a time.
    served = simulate_replica(
        step_times(0.0, token_s=service / 100),
        Limits(1, 100),
        arrival,
        np.full(n, 100.0),
        np.ones(n),
    )
    expected = load * service / (2 * (1 - load))
    assert waits(served, arrival) - service == pytest.approx(expected, rel=0.01)
    # And exactly what Lindley's recursion gives for these arrivals.
    idle = np.cumsum(np.concatenate([[0.0], service - np.diff(arrival)]))
    lindley = idle - np.minimum.accumulate(idle)
    assert served.first_s - arrival - service == pytest.approx(lindley, abs=1e-6)


def test_one_server_with_exponential_service_waits_as_m_m_1() -> None:
    random = np.random.default_rng(2)
    n, load, mean = 1_000_000, 0.5, 1000.0
    arrival = np.cumsum(random.exponential(1.0 / load, n))
    tokens = np.clip(np.rint(random.exponential(mean, n)), 1, 19_000)
    served = simulate_replica(
        step_times(0.0, token_s=1.0 / mean), Limits(1, 19_999), arrival, tokens, np.ones(n)
    )
    wait = waits(served, arrival) - tokens.mean() / mean
    assert wait == pytest.approx(load / (1 - load), rel=0.01)


def test_one_server_waits_as_in_simpy() -> None:
    """The same arrivals and services give the same mean in a general event simulator."""
    random = np.random.default_rng(4)
    n, load, mean = 20_000, 0.8, 1000.0
    arrival = np.cumsum(random.exponential(1.0 / load, n))
    tokens = np.clip(np.rint(random.exponential(mean, n)), 1, 19_000)
    served = simulate_replica(
        step_times(0.0, token_s=1.0 / mean), Limits(1, 19_999), arrival, tokens, np.ones(n)
    )
    environment = simpy.Environment()
    server = simpy.Resource(environment, capacity=1)
    spent: list[float] = []

    def request(at: float, service: float) -> Iterator[simpy.Event]:
        yield environment.timeout(at)
        with server.request() as turn:
            yield turn
            yield environment.timeout(service)
        spent.append(environment.now - at)

    for at, service in zip(arrival, tokens / mean, strict=True):
        environment.process(request(float(at), float(service)))
    environment.run()
    assert waits(served, arrival) == pytest.approx(np.mean(spent), rel=1e-9)


def test_users_who_think_wait_as_in_simpy_and_as_m_m_1_n() -> None:
    """A closed loop: the k-th request sent has the k-th length and thought, whoever sends it."""
    random = np.random.default_rng(6)
    n, users, think, mean = 40_000, 5, 2.0, 1000.0
    thoughts = random.exponential(think, n)
    tokens = np.clip(np.rint(random.exponential(mean, n)), 1, 19_000)
    starts = np.sort(random.exponential(think, users))
    served = simulate_replica(
        step_times(0.0, token_s=1.0 / mean),
        Limits(1, 19_999),
        starts,
        tokens,
        np.ones(n),
        think_s=thoughts,
    )
    environment = simpy.Environment()
    server = simpy.Resource(environment, capacity=1)
    sent: list[float] = []
    ended = [0.0] * n

    def user(at: float) -> Iterator[simpy.Event]:
        yield environment.timeout(at)
        while len(sent) < n:
            index = len(sent)
            sent.append(environment.now)
            with server.request() as turn:
                yield turn
                yield environment.timeout(float(tokens[index]) / mean)
            ended[index] = environment.now
            yield environment.timeout(float(thoughts[index]))

    for at in starts:
        environment.process(user(float(at)))
    environment.run()
    assert served.sent_s == pytest.approx(np.array(sent))
    assert served.end_s == pytest.approx(np.array(ended))
    # The machine-repair formula: with r = service / thought, the server idles p0 of the time.
    weights = [math.perm(users, k) * (1.0 / think) ** k for k in range(users + 1)]
    rate = (1.0 - weights[0] / sum(weights)) / (float(tokens.mean()) / mean)
    assert n / served.end_s.max() == pytest.approx(rate, rel=0.02)


def test_several_servers_wait_as_m_m_c() -> None:
    random = np.random.default_rng(3)
    n, servers, load, steps = 1_000_000, 4, 0.6, 4000.0
    arrival = np.cumsum(random.exponential(1.0 / (load * servers), n))
    # Generation of so many tokens takes one second on the mean, whoever else is there.
    outputs = np.maximum(np.rint(random.exponential(steps, n)), 1.0) + 1.0
    served = simulate_replica(
        step_times(1.0 / steps),
        Limits(servers, 10_000),
        arrival,
        np.ones(n),
        outputs,
        prompts=False,
    )
    # Erlang's formula at the rate and the mean service of this sample.
    service = float((outputs - 1).mean()) / steps
    offered = service / float(np.diff(arrival).mean())
    load = offered / servers
    inverse = sum(offered**k / math.factorial(k) for k in range(servers))
    last = offered**servers / math.factorial(servers) / (1 - load)
    expected = last / (inverse + last) * service / (servers * (1 - load))
    wait = waits(served, arrival) - 0.5 / steps  # turns begin with a step
    assert wait == pytest.approx(expected, rel=0.01)


def stepwise(
    times: StepTimes, limits: Limits, arrival: list[float], inputs: list[int], outputs: list[int]
) -> tuple[list[float], list[float]]:
    """Serve token by token, prompts whole, without a bound of the cache: what jumps must equal."""
    waiting: list[int] = []
    active: dict[int, int] = {}
    first, end = [0.0] * len(arrival), [0.0] * len(arrival)
    clock, at, done = 0.0, 0, 0
    while done < len(arrival):
        while at < len(arrival) and arrival[at] <= clock:
            heappush(waiting, at)
            at += 1
        running = list(active)
        budget = limits.batched_tokens - (0 if limits.prompts_first else len(running))
        chosen, tokens = [], 0
        while waiting and len(running) + len(chosen) < limits.sequences:
            size = inputs[waiting[0]]
            if tokens and tokens + size > budget:
                break
            chosen.append(heappop(waiting))
            tokens += size
        if not running and not chosen:
            clock = arrival[at]
            continue
        if chosen and limits.prompts_first:
            running = []  # they wait for the step of prompts
        positions = sum(inputs[i] + active[i] for i in running) + sum(inputs[i] + 1 for i in chosen)
        length = 0.0
        if running:
            length += times.base_s[len(running)] + times.slope_s[len(running)] * positions
        if chosen:
            length += times.launch_s + times.tokens_s[tokens]
        clock += length
        for i in running:
            active[i] += 1
        for i in chosen:
            first[i], active[i] = clock, 1
        for i in [i for i in active if active[i] == outputs[i]]:
            end[i] = clock
            del active[i]
            done += 1
    return first, end


requests = st.lists(
    st.tuples(st.floats(0.0, 3.0), st.integers(1, 400), st.integers(1, 60)),
    min_size=1,
    max_size=25,
)


@given(requests, st.integers(1, 8), st.integers(410, 1000), st.booleans())
def test_jumps_equal_single_steps(
    rows: list[tuple[float, int, int]], sequences: int, budget: int, prompts_first: bool
) -> None:
    rows = sorted(rows)
    arrival, inputs, outputs = [list(column) for column in zip(*rows, strict=True)]
    times = step_times(0.011, slope_s=2e-6, token_s=1.7e-4, launch_s=0.003)
    limits = Limits(sequences, budget, prompts_first=prompts_first)
    served = simulate_replica(times, limits, np.array(arrival), np.array(inputs), np.array(outputs))
    first, end = stepwise(times, limits, arrival, inputs, outputs)
    assert served.first_s == pytest.approx(np.array(first))
    assert served.end_s == pytest.approx(np.array(end))


@given(requests, st.integers(1, 8), st.integers(30, 300), st.integers(475, 1500), st.booleans())
def test_nothing_is_lost_and_the_cache_is_never_too_full(
    rows: list[tuple[float, int, int]], sequences: int, budget: int, cache: int, reserved: bool
) -> None:
    rows = sorted(rows)
    arrival, inputs, outputs = (np.array(column) for column in zip(*rows, strict=True))
    times = step_times(0.011, slope_s=2e-6, token_s=1.7e-4, launch_s=0.003)
    limits = Limits(sequences, budget, cache, 16, reserved)
    served = simulate_replica(times, limits, arrival, inputs, outputs)
    # Every request gets a first token after it came, and ends no sooner.
    assert (served.first_s > arrival).all()
    assert (served.end_s >= served.first_s).all()
    # Tokens: one with each prompt that is computed, again after each preemption, one a step else.
    stepped = (served.segment_steps * served.segment_requests).sum()
    assert stepped + len(rows) + served.preemptions == outputs.sum()
    assert served.segment_positions.max(initial=0.0) <= cache
    assert served.segment_positions.min(initial=0.0) >= 0
    assert served.segment_requests.max(initial=0.0) <= sequences
    if reserved:
        assert served.preemptions == 0
    assert served.busy_s <= served.end_s.max() + 1e-9


def test_the_same_requests_give_the_same_result() -> None:
    random = np.random.default_rng(5)
    arrival = np.cumsum(random.exponential(0.02, 2000))
    lengths = random.integers(1, 300, (2, 2000))
    times = step_times(0.011, slope_s=2e-6, token_s=1.7e-4)
    runs = [simulate_replica(times, Limits(32, 600, 6000, 16), arrival, *lengths) for _ in range(2)]
    assert (runs[0].end_s == runs[1].end_s).all()
    assert runs[0].preemptions == runs[1].preemptions > 0


def test_lower_priorities_go_first() -> None:
    n = 40
    served = simulate_replica(
        step_times(0.01, token_s=1e-3),
        Limits(1, 200),
        np.zeros(n),
        np.full(n, 100.0),
        np.full(n, 5.0),
        priority=[n - index for index in range(n)],
    )
    assert (np.diff(served.first_s) < 0).all()


def test_a_request_larger_than_the_cache_is_refused() -> None:
    with pytest.raises(SpecError, match="does not fit the cache"):
        simulate_replica(
            step_times(0.01), Limits(8, 100, 1000, 16), np.zeros(1), np.array([990.0]), np.ones(1)
        )
