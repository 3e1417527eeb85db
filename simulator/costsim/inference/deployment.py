"""Deployments: equal replicas that share a traffic, or prompts and generation in pools apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from costsim.architectures.architecture import Architecture
from costsim.errors import SpecError
from costsim.hardware.systems import System
from costsim.inference.engines import Engine
from costsim.inference.formats import runnable
from costsim.inference.layout import Layout, Layouts, Quantization
from costsim.inference.memory import cache_budget, cache_bytes
from costsim.inference.metrics import Measured, Objective, measured, within
from costsim.inference.passes import ServedModel
from costsim.inference.simulation import Limits, Served, simulate_replica
from costsim.inference.step_times import StepTimes
from costsim.inference.tables import Tables
from costsim.inference.traffic import Traffic

_TYPICAL_TOKENS = 4096.0  # a request over which the bytes of a position are averaged


class Deployed(Protocol):
    """Anything that serves: it takes so long for a step, and holds so much."""

    @property
    def times(self) -> StepTimes:
        """Times of its steps."""
        ...

    @property
    def limits(self) -> Limits:
        """What bounds its requests."""
        ...


@dataclass(frozen=True)
class Deployment:
    """A model in one layout on one kind of device under one engine; replicas are equal."""

    model: Architecture
    system: System
    layout: Layout
    quantization: Quantization
    engine: Engine

    def with_tables(self, tables: Tables, row: int) -> Deployment:
        """Return the deployment with times of its passes that are known, row `row` of `tables`."""
        known = replace(self)
        object.__setattr__(known, "_times", StepTimes.build(tables, self.engine, row))
        return known

    @cached_property
    def tables(self) -> Tables:
        """Times of its passes."""
        system = self.system.with_count(max(self.system.count, self.layout.devices))
        quantization = runnable(self.quantization, system)
        served = ServedModel(
            self.model,
            system,
            quantization,
            self.engine.grouped_attention,
            self.engine.fused_attention,
        )
        return Tables.build(served, self._columns)

    @cached_property
    def _columns(self) -> Layouts:
        return Layouts.of([self.layout])

    @property
    def times(self) -> StepTimes:
        """Times of its steps."""
        return self._times

    @cached_property
    def _times(self) -> StepTimes:
        return StepTimes.build(self.tables, self.engine, 0)

    @cached_property
    def cache_tokens(self) -> float:
        """Positions that the cache of a replica holds, all its attention ranks together."""
        budget = cache_budget(
            self.system, self.model, self._columns, self.quantization, self.engine
        )
        each = self.token_bytes
        if each == 0:
            return float("inf")
        return max(0.0, float(budget[0]) / each * self.layout.attention_dp)

    @cached_property
    def token_bytes(self) -> float:
        """Bytes of a position on one device, the mean over a request of usual length."""
        tokens = np.array([_TYPICAL_TOKENS])
        held = cache_bytes(self.model, self._columns, self.quantization, tokens)
        return float(held[0]) / _TYPICAL_TOKENS

    @property
    def fits(self) -> bool:
        """Whether a replica has room for its weights and some cache."""
        return self.cache_tokens >= self.engine.block_tokens

    @property
    def limits(self) -> Limits:
        """What bounds the requests of a replica."""
        ranks = self.layout.attention_dp
        return Limits(
            sequences=self.engine.max_sequences * ranks,
            batched_tokens=self.engine.max_batched_tokens * ranks,
            cache_tokens=self.cache_tokens,
            block_tokens=self.engine.block_tokens,
            reserved=self.engine.reserved_ratio == 1.0,
            prompts_first=self.engine.scheduler == "prefill_first",
        )


def simulate(
    deployment: Deployed, replicas: int, traffic: Traffic, objective: Objective | None = None
) -> Measured:
    """Serve `traffic` on `replicas` that get requests in turn.

    Raises:
        SpecError: if there is no replica, or a request is more than one holds.
    """
    if replicas < 1:
        raise SpecError(f"the number of replicas must be at least 1, not {replicas}")
    parts = [part for part in traffic.dealt(replicas) if len(part)]
    limits, times = deployment.limits, deployment.times
    return measured([(part, _serve(times, limits, part)) for part in parts], objective)


def simulate_if_kept(
    deployment: Deployed, replicas: int, traffic: Traffic, objective: Objective
) -> Measured | None:
    """Serve `traffic` on `replicas`; None as soon as too many requests miss `objective`.

    Raises:
        SpecError: if a request is more than a replica holds.
    """
    limits, times = deployment.limits, deployment.times
    missed, parts = 0, list[tuple[Traffic, Served]]()
    for part in traffic.dealt(replicas):
        if not len(part):
            continue
        served = _serve(times, limits, part)
        parts.append((part, served))
        missed += int((~within(part, served, objective)).sum())
        if _too_many(missed, traffic, objective):
            return None
    return measured(parts, objective)


def _too_many(missed: int, traffic: Traffic, objective: Objective) -> bool:
    return (len(traffic) - missed) / len(traffic) < objective.percentile / 100.0


def simulate_mixed(
    fleet: Sequence[tuple[Deployed, int, float]],
    traffic: Traffic,
    objective: Objective | None = None,
) -> Measured:
    """Serve `traffic` on replicas of several kinds, which get requests in proportion to a rate.

    Args:
        fleet: kinds, replicas of each, and the rate of a replica.
        traffic: of all of them.
        objective: promised.

    Raises:
        SpecError: if there is no replica, or a request is more than one holds.
    """
    rates = np.array([rate for _, replicas, rate in fleet for _ in range(replicas)])
    kinds = [kind for kind, replicas, _ in fleet for _ in range(replicas)]
    if not kinds:
        raise SpecError("a fleet needs at least one replica")
    # A replica of share w is due every 1/w requests, the first time at a place of its own.
    shares, number = rates / rates.sum(), len(traffic)
    starts = (np.arange(len(kinds)) + 0.5) / len(kinds)
    turns = [
        (np.arange(int(number * w) + 2) + at) / w for w, at in zip(shares, starts, strict=True)
    ]
    owner = np.repeat(np.arange(len(kinds)), [len(one) for one in turns])
    owner = owner[np.argsort(np.concatenate(turns), kind="stable")][:number]
    served: list[tuple[Traffic, Served]] = []
    for index, kind in enumerate(kinds):
        part = traffic.part(np.flatnonzero(owner == index))
        if len(part):
            served.append((part, _serve(kind.times, kind.limits, part)))
    return measured(served, objective)


def simulate_disaggregated(
    prefill: Deployment,
    prefill_replicas: int,
    decode: Deployment,
    decode_replicas: int,
    traffic: Traffic,
    objective: Objective | None = None,
) -> Measured:
    """Serve `traffic` with prompts in one pool and generation in another.

    The cache of a prompt travels over the outermost links of the prompt's devices, each sending its
    part; the first token comes from the prompt's pool, the next when the cache has arrived.

    Raises:
        SpecError: if a pool is empty, or a request is more than a replica holds.
    """
    parts = _apart(prefill, prefill_replicas, decode, decode_replicas, traffic, None)
    assert parts is not None  # without an objective nothing ends it
    return measured(parts, objective)


def disaggregated_if_kept(
    prefill: Deployment,
    prefill_replicas: int,
    decode: Deployment,
    decode_replicas: int,
    traffic: Traffic,
    objective: Objective,
) -> Measured | None:
    """Serve `traffic` in two pools; None as soon as too many requests miss `objective`."""
    parts = _apart(prefill, prefill_replicas, decode, decode_replicas, traffic, objective)
    return None if parts is None else measured(parts, objective)


def _apart(
    prefill: Deployment,
    prefill_replicas: int,
    decode: Deployment,
    decode_replicas: int,
    traffic: Traffic,
    kept: Objective | None,
) -> list[tuple[Traffic, Served]] | None:
    """Return what becomes of requests in two pools; None once too many are not `kept`."""
    if min(prefill_replicas, decode_replicas) < 1:
        raise SpecError("both pools need at least one replica")
    first = np.zeros(len(traffic))
    late = missed = 0
    for index, part in enumerate(traffic.dealt(prefill_replicas)):
        served = _serve(prefill.times, prefill.limits, part, generates=False)
        first[index::prefill_replicas] = served.first_s
        if kept is not None:
            late += int((~within(part, served, Objective(ttft_s=kept.ttft_s))).sum())
            if _too_many(late, traffic, kept):
                return None
    sent = traffic.input_tokens * prefill.token_bytes / network_bytes_per_s(prefill.system)
    moved = replace(traffic, arrival_s=first + sent)
    order = np.argsort(moved.arrival_s, kind="stable")
    parts: list[tuple[Traffic, Served]] = []
    for index in range(decode_replicas):
        rows = order[index::decode_replicas]
        if not len(rows):
            continue
        part = moved.part(rows)
        served = _serve(decode.times, decode.limits, part, prompts=False)
        parts.append((traffic.part(rows), replace(served, first_s=first[rows])))
        if kept is not None:
            missed += int((~within(*parts[-1], kept)).sum())
            if _too_many(missed, traffic, kept):
                return None
    return parts


def _serve(
    times: StepTimes,
    limits: Limits,
    traffic: Traffic,
    *,
    prompts: bool = True,
    generates: bool = True,
) -> Served:
    return simulate_replica(
        times if prompts else replace(times, receive_s=0.0),
        limits,
        traffic.arrival_s,
        traffic.input_tokens.astype(np.float64),
        traffic.output_tokens.astype(np.float64),
        cached_tokens=traffic.cached_tokens.astype(np.float64),
        prompts=prompts,
        generates=generates,
    )


def network_bytes_per_s(system: System) -> float:
    """Bandwidth between pools: of the outermost links that one device has."""
    if not system.tiers:
        raise SpecError(f"`{system.id}` has no links to send a cache over")
    return system.tiers[-1].carried_bytes_per_s
