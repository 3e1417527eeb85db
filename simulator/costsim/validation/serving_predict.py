"""Predictions of inference runs: rows of one model, device and engine are evaluated together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costsim.errors import CostsimError
from costsim.inference.engines import load_benchmark
from costsim.inference.layout import Array, Layouts
from costsim.inference.memory import request_slots
from costsim.inference.passes import ServedModel
from costsim.inference.steady import Requests, Steady, closed_loop
from costsim.inference.tables import Tables
from costsim.validation.serving import ServedRun


@dataclass(frozen=True, slots=True)
class ServingPrediction:
    """What is predicted for a row of its deployment; `slots` are requests that a replica holds."""

    configuration: ServedRun
    ttft_s: float
    tpot_s: float
    output_tokens_per_s: float
    slots: float


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one model, device, formats and engine, ready to be evaluated.

    Attributes:
        index: of the rows in the file.
        members: their configurations.
        tables: of their layouts.
        rows: of `tables`, one a member.
        slots: requests that the cache of a replica holds at once.
        users: requests in a replica.
        requests: lengths.
    """

    index: tuple[int, ...]
    members: tuple[ServedRun, ...]
    tables: Tables
    rows: np.ndarray[tuple[int], np.dtype[np.intp]]
    slots: Array
    users: Array
    requests: Requests


def groups(configurations: Sequence[ServedRun | str]) -> list[Group]:
    """Return the rows that can be predicted, by what they have in common.

    Raises:
        UnknownNameError: if a device cannot multiply in any format of a row.
    """
    return [_group(members) for members in _alike(configurations)]


def _alike(configurations: Sequence[ServedRun | str]) -> list[list[tuple[int, ServedRun]]]:
    alike: dict[object, list[tuple[int, ServedRun]]] = defaultdict(list)
    for index, one in enumerate(configurations):
        if isinstance(one, ServedRun):
            key = (id(one.model), one.system.id, one.quantization, one.engine, one.load)
            alike[key].append((index, one))
    return list(alike.values())


def _group(members: list[tuple[int, ServedRun]]) -> Group:
    first = members[0][1]
    runs = tuple(run for _, run in members)
    layouts = sorted({run.layout for run in runs}, key=str)
    system = max((run.system for run in runs), key=lambda system: system.count)
    tables = Tables.build(ServedModel(first.model, system, first.quantization), Layouts.of(layouts))
    rows = np.array([layouts.index(run.layout) for run in runs])
    inputs = np.array([run.input_tokens for run in runs])
    outputs = np.array([run.output_tokens for run in runs])
    slots = request_slots(
        system,
        first.model,
        tables.layouts.take(rows),
        first.quantization,
        first.engine,
        inputs + outputs * first.engine.reserved_ratio,
    )
    stated = [np.inf if run.users is None else run.users / run.replicas for run in runs]
    users = np.maximum(np.minimum(np.array(stated), np.maximum(slots, 1.0)), 1e-3)
    burst = load_benchmark().burst_ratio if first.load == "closed-loop" else 0.0
    requests = Requests(inputs, outputs, burst_ratio=burst)
    return Group(tuple(i for i, _ in members), runs, tables, rows, slots, users, requests)


def evaluate(group: Group) -> Steady:
    """Return the steady state of each row's replica."""
    engine = group.members[0].engine
    return closed_loop(group.tables, engine, group.rows, group.users, group.requests)


def predictions(configurations: Sequence[ServedRun]) -> list[ServingPrediction | str]:
    """Return for every configuration its prediction, or why there is none."""
    found: list[ServingPrediction | str] = [""] * len(configurations)
    for members in _alike(configurations):
        try:
            group = _group(members)
        except CostsimError as error:
            for index, _ in members:
                found[index] = "; ".join(problem.message for problem in error.problems)
            continue
        steady = evaluate(group)
        for row, (index, member) in enumerate(zip(group.index, group.members, strict=True)):
            waiting = 0.0
            if member.users is not None and group.slots[row] >= 1:
                # Those beyond the cache wait for one to leave.
                beyond = member.users / member.replicas - group.users[row]
                waiting = max(beyond, 0.0) / float(steady.requests_per_s[row])
            found[index] = ServingPrediction(
                member,
                float(steady.ttft_s[row]) + waiting,
                float(steady.tpot_s[row]),
                float(steady.output_tokens_per_s[row]) * member.replicas,
                float(group.slots[row]),
            )
    return found
