"""What a load measures of a deployment: rows of benchmarks of every kind, many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from costsim.architectures.architecture import Architecture
from costsim.errors import CostsimError, SpecError
from costsim.hardware.systems import System
from costsim.inference.deployment import Deployed, Deployment, network_bytes_per_s, simulate
from costsim.inference.engines import Engine, load_benchmark
from costsim.inference.layout import Array, Layout, Layouts, Quantization
from costsim.inference.memory import cache_bytes, request_slots
from costsim.inference.metrics import Measured
from costsim.inference.passes import ServedModel
from costsim.inference.pools import Pool, disaggregated_loop
from costsim.inference.simulation import Limits
from costsim.inference.steady import Requests, Steady, closed_loop, open_loop, static_batch
from costsim.inference.step_times import StepTimes
from costsim.inference.tables import Rows, Tables
from costsim.inference.traffic import Traffic, burst_traffic, random_traffic

LoadKind: TypeAlias = Literal["closed-loop", "max-throughput", "static-batch", "burst", "open-loop"]
_MOST_REQUESTS = 2000  # of a simulated run
_STAGE_S = 60.0  # of an open loop that states no number of requests
_VARIED = 1.0  # coefficient of variation of lengths of conversations, about that of ShareGPT


@dataclass(frozen=True, slots=True)
class Pools:
    """Replicas that compute prompts, and replicas that generate."""

    prefill: Layout
    prefill_workers: int
    decode: Layout
    decode_workers: int


@dataclass(frozen=True, slots=True)
class Load:
    """A load on a deployment, all its replicas together.

    Attributes:
        kind: `users` who each send a request when their last one ends; as many as fit; `users` or
            `prompts` that start together, with none after them; `prompts` at once, drained; or
            `rate_per_s` at random.
        input_tokens: mean of a prompt.
        output_tokens: mean of an answer.
        cached_tokens: of a prompt, that a prefix cache has.
        users: of a closed loop; None where the kind has none.
        rate_per_s: of an open loop.
        prompts: requests in all, where that is stated.
        equal: whether all lengths are the same.
        varied: whether they vary as conversations do.
    """

    kind: LoadKind
    input_tokens: float
    output_tokens: float
    cached_tokens: float = 0.0
    users: float | None = None
    rate_per_s: float | None = None
    prompts: float | None = None
    equal: bool = True
    varied: bool = False

    @property
    def finite(self) -> bool:
        """Whether it is simulated from its first request to its last."""
        if self.kind == "burst":
            return True
        return self.kind == "open-loop" and self.prompts is not None


@dataclass(frozen=True, slots=True)
class Case:
    """A deployment and its load; `system` has as many devices as the widest layout."""

    model: Architecture
    system: System
    layout: Layout
    replicas: int
    quantization: Quantization
    engine: Engine
    load: Load
    pools: Pools | None = None

    @property
    def devices(self) -> int:
        """Devices of all replicas."""
        if self.pools is not None:
            pools = self.pools
            prompts = pools.prefill.devices * pools.prefill_workers
            return prompts + pools.decode.devices * pools.decode_workers
        return self.layout.devices * self.replicas


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is measured of a case; `slots` are requests that a replica holds.

    Percentiles are nan where the closed form knows none.
    """

    ttft_s: float
    tpot_s: float
    requests_per_s: float
    output_tokens_per_s: float
    ttft_p50_s: float
    ttft_p99_s: float
    decoding: float
    prompt_share: float
    slots: float


def outcomes(cases: Sequence[Case]) -> list[Outcome | CostsimError]:
    """Return the outcome of each case, or why there is none.

    Passes of cases of one model on one kind of device are timed in one call.
    """
    found: list[Outcome | CostsimError | None] = [None] * len(cases)
    alike: dict[object, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        alike[_timed(case)].append(index)
    for indices in alike.values():
        members = [cases[i] for i in indices]
        try:
            results = _evaluate(members)
        except CostsimError as error:
            results = [error] * len(members)
        for index, result in zip(indices, results, strict=True):
            found[index] = result
    return [one for one in found if one is not None]


def _timed(case: Case) -> object:
    """Return what the times of a case's passes depend on beside layout and load."""
    system, engine = case.system, case.engine
    device = system.accelerator
    links = tuple((tier.name, tier.bandwidth_bytes_per_s) for tier in system.tiers)
    peaks = tuple(sorted(device.peaks_flops_per_s.items()))
    family = (engine.grouped_attention, engine.fused_attention)
    return (id(case.model), device.id, peaks, links, case.quantization, family)


@dataclass(frozen=True)
class Group:
    """Cases whose passes are timed together.

    Attributes:
        cases: of the group.
        tables: of all their layouts.
        rows: of `tables`, one a case: the layout that generates.
        prompts: the same of the layout that computes prompts.
        slots: requests that a replica holds at once.
    """

    cases: Sequence[Case]
    tables: Tables
    rows: Rows
    prompts: Rows
    slots: Array

    def at(self, rows: Rows) -> list[Case]:
        """Return the cases of `rows`."""
        return [self.cases[int(row)] for row in rows]


def groups(cases: Sequence[Case]) -> list[tuple[list[int], Group]]:
    """Return the groups of `cases`, with the indices of their members.

    Raises:
        UnknownNameError: if a device cannot multiply in any format of a case.
    """
    alike: dict[object, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        alike[_timed(case)].append(index)
    return [(indices, _group([cases[i] for i in indices])) for indices in alike.values()]


def _group(cases: Sequence[Case]) -> Group:
    first = cases[0]
    used = {case.layout for case in cases}
    used |= {case.pools.prefill for case in cases if case.pools is not None}
    layouts = sorted(used, key=str)
    system = max((case.system for case in cases), key=lambda one: one.count)
    engine = first.engine
    served = ServedModel(
        first.model, system, first.quantization, engine.grouped_attention, engine.fused_attention
    )
    tables = Tables.build(served, Layouts.of(layouts))
    rows = np.array([layouts.index(case.layout) for case in cases])
    prompts = np.array([layouts.index(c.pools.prefill if c.pools else c.layout) for c in cases])
    slots = np.zeros(len(cases))
    same: dict[Engine, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        same[case.engine].append(index)
    for one, members in same.items():
        at = np.array(members)
        lengths = np.array(
            [
                cases[i].load.input_tokens + cases[i].load.output_tokens * one.reserved_ratio
                for i in members
            ]
        )
        layouts_of = tables.layouts.take(rows[at])
        slots[at] = request_slots(system, first.model, layouts_of, first.quantization, one, lengths)
    return Group(cases, tables, rows, prompts, slots)


def _evaluate(cases: Sequence[Case]) -> list[Outcome | CostsimError]:
    group = _group(cases)
    found: list[Outcome | CostsimError | None] = [None] * len(cases)
    together: dict[object, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        if case.load.finite and case.pools is None:
            found[index] = _simulated(group, index)
        else:
            kind = case.load.kind
            apart = case.pools is not None
            together[apart, kind, case.engine.speculation].append(index)
    for members in together.values():
        at = np.array(members)
        steady = steady_of(group, at, engine_columns([cases[i].engine for i in members]))
        for row, index in enumerate(members):
            apart = cases[index].pools is not None
            if np.isfinite(steady.ttft_s[row]) or apart:
                found[index] = _outcome(group, index, steady, row)
            else:  # more comes than is served: what some minutes of that measure
                found[index] = _simulated(group, index)
    return [one for one in found if one is not None]


def engine_columns(engines: Sequence[Engine]) -> Engine:
    """Return one engine whose numbers are columns, one row each of `engines`.

    Only what the closed form asks for is a column; drafts must be the same in all.
    """
    first = engines[0]
    columns: dict[str, Any] = {}
    for field in fields(Engine):
        value = getattr(first, field.name)
        if isinstance(value, bool | int | float):
            columns[field.name] = np.array([getattr(one, field.name) for one in engines])
    columns["scheduler"] = np.array([one.scheduler for one in engines])
    return replace(first, **columns)


def steady_of(
    group: Group,
    at: Rows,
    engine: Engine,
    burst_ratio: float | None = None,
) -> Steady:
    """Return the steady state of the cases `at` of a group, alike in kind, in columns.

    Args:
        group: cases and tables.
        at: indices of cases.
        engine: columns of their constants.
        burst_ratio: of benchmarks that state no number of requests; calibrated if not given.
    """
    cases = group.at(at)
    loads = [case.load for case in cases]
    kind = loads[0].kind
    replicas = np.array([float(case.replicas) for case in cases])
    requests = requests_of(loads, burst_ratio)
    rows, slots = group.rows[at], np.maximum(group.slots[at], 1.0)
    if cases[0].pools is not None:
        return _apart(group, at, engine, requests)
    users = np.array([np.inf if one.users is None else one.users for one in loads]) / replicas
    held = np.maximum(np.minimum(users, slots), 1e-3)
    if kind == "open-loop":
        rate = np.array([one.rate_per_s or 0.0 for one in loads]) / replicas
        return open_loop(group.tables, engine, rows, rate, slots, requests)
    if kind == "static-batch":
        return static_batch(group.tables, engine, rows, held, requests)
    return closed_loop(group.tables, engine, rows, held, requests)


def requests_of(loads: Sequence[Load], burst_ratio: float | None = None) -> Requests:
    """Return the lengths of `loads` as columns."""
    usual = load_benchmark().burst_ratio if burst_ratio is None else burst_ratio
    inputs = np.array([one.input_tokens for one in loads])
    outputs = np.array([one.output_tokens for one in loads])
    cached = np.array([min(one.cached_tokens, one.input_tokens - 1.0) for one in loads])
    burst = np.array(
        [
            0.0
            if one.kind != "closed-loop"
            else min(one.users / one.prompts, 1.0)
            if one.prompts and one.users
            else usual
            for one in loads
        ]
    )
    equal = np.array([float(one.equal) for one in loads])
    variation = np.array([_VARIED**2 if one.varied else 0.0 for one in loads])
    return Requests(inputs - cached, outputs, cached, burst, variation, equal)


def _outcome(group: Group, index: int, steady: Steady, row: int) -> Outcome:
    case, load = group.cases[index], group.cases[index].load
    replicas = 1 if case.pools is not None else case.replicas
    rate, first_s = float(steady.requests_per_s[row]), float(steady.ttft_s[row])
    slots = float(group.slots[index])
    if case.pools is None and load.users is not None and load.kind == "closed-loop":
        # Those beyond the cache wait for one to leave.
        beyond = load.users / replicas - max(slots, 1.0)
        first_s += max(beyond, 0.0) / rate
    return Outcome(
        first_s,
        float(steady.tpot_s[row]),
        rate * replicas,
        float(steady.output_tokens_per_s[row]) * replicas,
        float("nan"),
        float(steady.ttft_p99_s[row]) + first_s - float(steady.ttft_s[row]),
        float(steady.decoding[row]) * replicas,
        float(steady.prompt_share[row]),
        slots,
    )


def _apart(
    group: Group,
    at: Rows,
    engine: Engine,
    requests: Requests,
) -> Steady:
    cases = group.at(at)
    pools = [case.pools for case in cases if case.pools is not None]
    workers = [
        np.array([float(p.prefill_workers) for p in pools]),
        np.array([float(p.decode_workers) for p in pools]),
    ]
    layouts = group.tables.layouts.take(group.prompts[at])
    first = cases[0]
    sent = cache_bytes(first.model, layouts, first.quantization, requests.input_tokens)
    transfer_s = sent / network_bytes_per_s(first.system)
    users = [case.load.users for case in cases]
    rates = [case.load.rate_per_s for case in cases]
    closed = all(one is not None for one in users)
    return disaggregated_loop(
        Pool(group.tables, group.prompts[at], workers[0], engine),
        Pool(group.tables, group.rows[at], workers[1], engine),
        requests,
        transfer_s,
        users=np.array(users, dtype=np.float64) if closed else None,
        rate=None if closed else np.array([1.0 if r is None else r for r in rates]),
        slots=np.maximum(group.slots[at], 1.0),
    )


def traffic_of(load: Load, seed: int = 0) -> Traffic:
    """Return the requests of a burst or an open loop, the same for the same seed."""
    spread = 0.0 if load.equal else _VARIED if load.varied else 1.0 / 9.0
    cached = load.cached_tokens / load.input_tokens
    if load.kind == "open-loop":
        assert load.rate_per_s is not None
        number = load.prompts or max(load.rate_per_s * _STAGE_S, 50.0)
        return random_traffic(
            load.rate_per_s,
            int(min(number, _MOST_REQUESTS)),
            load.input_tokens,
            load.output_tokens,
            spread=spread,
            cached_ratio=cached,
            seed=seed,
        )
    number = load.prompts or load.users or 1.0
    return burst_traffic(
        int(min(number, _MOST_REQUESTS)),
        load.input_tokens,
        load.output_tokens,
        spread=spread,
        cached_ratio=cached,
        seed=seed,
    )


@dataclass(frozen=True, slots=True)
class _Roomy:
    """A deployment whose cache holds whatever comes."""

    times: StepTimes
    limits: Limits


def _simulated(group: Group, index: int) -> Outcome | CostsimError:
    case = group.cases[index]
    deployment = Deployment(
        case.model, case.system, case.layout, case.quantization, case.engine
    ).with_tables(group.tables, int(group.rows[index]))
    served: Deployed = deployment
    if group.slots[index] < 1.0:  # it ran, whatever memory says: as if there were room
        served = _Roomy(deployment.times, replace(deployment.limits, cache_tokens=np.inf))
    try:
        run = simulate(served, case.replicas, traffic_of(case.load))
    except SpecError as error:
        return error
    return _measured(run, float(group.slots[index]))


def _measured(run: Measured, slots: float) -> Outcome:
    return Outcome(
        run.ttft.mean_s,
        run.tpot.mean_s,
        run.request_per_s,
        run.output_tokens_per_s,
        run.ttft.median_s,
        run.ttft.p99_s,
        float("nan"),
        float("nan"),
        slots,
    )
