"""Predictions of inference runs: rows of one model, device and engine are evaluated together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from costsim.errors import CostsimError
from costsim.inference.engines import load_benchmark
from costsim.inference.intervals import Quantity, serving_interval
from costsim.inference.layout import Array, Layouts
from costsim.inference.memory import request_slots
from costsim.inference.passes import ServedModel
from costsim.inference.steady import Requests, Steady, closed_loop
from costsim.inference.tables import Tables
from costsim.validation.entries import Entry
from costsim.validation.runs import Run
from costsim.validation.serving import ServedRun, served_run

# A quantity of the runs file, that of the estimate, and how many of the former make one.
_QUANTITIES: tuple[tuple[str, Quantity, float], ...] = (
    ("ttft_ms", "ttft_s", 1e3),
    ("tpot_ms", "tpot_s", 1e3),
    ("output_tokens_per_s", "output_tokens_per_s", 1.0),
)


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


def predict_serving(runs: Sequence[Run], folder: Path) -> list[ServingPrediction | str]:
    """Return for every row its prediction, or why there is none.

    Args:
        runs: rows of a file.
        folder: where paths in the column `config` start.
    """
    configurations = [run.fault or served_run(run, folder) for run in runs]
    found: list[ServingPrediction | str] = [
        one if isinstance(one, str) else "" for one in configurations
    ]
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


def serving_entries(
    runs: Sequence[Run], predictions: Sequence[ServingPrediction | str]
) -> list[Entry]:
    """Return the entries of all rows, in their order."""
    found: list[Entry] = []
    for run, prediction in zip(runs, predictions, strict=True):
        if isinstance(prediction, str):
            measured = [name for name, *_ in _QUANTITIES if name in run.number]
            found.extend(
                Entry(run, name, None, None, None, run.number.get(name), prediction)
                for name in measured or ["tpot_ms"]
            )
        else:
            found.extend(_entries(run, prediction))
    return found


def _entries(run: Run, prediction: ServingPrediction) -> list[Entry]:
    configuration = prediction.configuration
    offline = configuration.load == "max-throughput"
    parts: list[str] = []
    if prediction.slots < 1:
        parts.append("out of memory: weights leave no room for a request")
    if configuration.assumed:
        parts.append("assumed: " + ", ".join(configuration.assumed))
    found: list[Entry] = []
    for name, quantity, scale in _QUANTITIES:
        if offline and quantity != "output_tokens_per_s":
            continue
        value = float(getattr(prediction, quantity))
        low, high = serving_interval(quantity, value, routed=configuration.routed)
        measured = run.number.get(name)
        reason = "; ".join(parts)
        found.append(Entry(run, name, value * scale, low * scale, high * scale, measured, reason))
    return found
