"""The space of replicas: every layout and format on every device, by the closed form, at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costsim.architectures.architecture import Architecture
from costsim.architectures.division import heads_of
from costsim.architectures.operators import Experts
from costsim.hardware.systems import System
from costsim.inference.engines import Engine
from costsim.inference.formats import runnable
from costsim.inference.layout import Array, Layout, Layouts, Quantization
from costsim.inference.memory import request_slots
from costsim.inference.metrics import Objective
from costsim.inference.passes import ServedModel
from costsim.inference.steady import Requests, closed_loop, open_loop
from costsim.inference.tables import Tables

USERS = np.unique(np.round(2.0 ** np.arange(0, 11.1, 0.5)))
_STAGES = (2, 4)
_HALVINGS = 18  # of the interval of rates: to a part in a quarter of a million


@dataclass(frozen=True, slots=True)
class Lengths:
    """Mean lengths of requests, and the squared variation of those of prompts."""

    input_tokens: float
    cached_tokens: float
    output_tokens: float
    variation: float
    longest_tokens: float

    def columns(self, rows: int) -> Requests:
        """Return them as columns of `rows` values."""
        return Requests(
            np.full(rows, self.input_tokens - self.cached_tokens),
            np.full(rows, self.output_tokens),
            self.cached_tokens,
            variation=self.variation,
        )


@dataclass(frozen=True, slots=True)
class Replica:
    """One kind of replica, and what the closed form says of it.

    Attributes:
        system: with as many devices as one replica has, or a whole system.
        layout: of the replica.
        quantization: formats.
        slots: requests that its cache holds.
        rate_per_s: requests a second within the objective.
        curve: tokens a second and user against tokens a second and device, over users.
    """

    system: System
    layout: Layout
    quantization: Quantization
    slots: float
    rate_per_s: float
    curve: tuple[tuple[float, float, float], ...]

    @property
    def label(self) -> str:
        """Device, layout and format."""
        return f"{self.system.accelerator.name}, {self.quantization.dense}, {self.layout}"


def layouts_of(
    model: Architecture,
    system: System,
    counts: Sequence[int] | None,
    divisions: Sequence[int] | None = None,
) -> list[Layout]:
    """Return the layouts of a replica that heads and experts divide over.

    Args:
        model: to serve.
        system: to serve it on.
        counts: devices of a replica; None = powers of two up to a node, and several nodes.
        divisions: degrees of context parallelism; None = 1.
    """
    heads = heads_of(model)
    experts = _experts(model)
    node = system.devices_per_node
    tried = counts or [2**k for k in range(node.bit_length()) if 2**k <= node]
    most = system.max_devices
    found: list[Layout] = []
    for count in tried:
        if most is not None and count > most:
            continue
        for cp in divisions or (1,):
            if count % cp:
                continue
            ranks = count // cp
            if heads.divide(ranks):
                found.append(Layout(tp=ranks, moe_tp=ranks, cp=cp))
            if experts and ranks > 1 and experts % ranks == 0:
                if heads.divide(ranks):
                    found.append(Layout(tp=ranks, ep=ranks, cp=cp))
                if cp == 1:
                    found.append(Layout(attention_dp=ranks, ep=ranks))
    if not counts and heads.divide(node) and 1 in (divisions or (1,)):
        # Models too large for a node have stages in several.
        for stages in _STAGES:
            if stages <= model.depth and (most is None or node * stages <= most):
                found.append(Layout(tp=node, pp=stages, moe_tp=node))
    return found


def search_replicas(
    model: Architecture,
    system: System,
    layouts: Sequence[Layout],
    quantization: Quantization,
    engine: Engine,
    lengths: Lengths,
    objective: Objective,
) -> list[Replica]:
    """Return the layouts that have room for a request, with the rate that each can take."""
    machine = system.with_count(max(system.count, *(layout.devices for layout in layouts)))
    formats = runnable(quantization, machine)
    columns = Layouts.of(list(layouts))
    tokens = lengths.input_tokens + lengths.output_tokens * engine.reserved_ratio
    slots = request_slots(machine, model, columns, formats, engine, np.array(tokens))
    longest = request_slots(
        machine, model, columns, formats, engine, np.array(lengths.longest_tokens)
    )
    kept = np.flatnonzero(longest >= columns.attention_dp)
    if not len(kept):
        return []
    served = ServedModel(model, machine, formats, engine.grouped_attention, engine.fused_attention)
    tables = Tables.build(served, columns.take(kept))
    rows = np.arange(len(kept))
    rates = _rates(tables, engine, rows, slots[kept], lengths, objective)
    curves = _curves(tables, engine, rows, slots[kept], lengths)
    return [
        Replica(machine, layouts[int(k)], formats, float(slots[k]), float(rates[row]), curves[row])
        for row, k in enumerate(kept)
    ]


def _rates(
    tables: Tables,
    engine: Engine,
    rows: np.ndarray[tuple[int], np.dtype[np.intp]],
    slots: Array,
    lengths: Lengths,
    objective: Objective,
) -> Array:
    """Return the highest rate that each layout takes, by halving."""
    requests = lengths.columns(len(rows))
    full = closed_loop(tables, engine, rows, np.maximum(slots, 1.0), requests)
    low, high = np.zeros(len(rows)), full.requests_per_s * 1.2
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        found = open_loop(tables, engine, rows, middle, slots, requests)
        fine = np.isfinite(found.ttft_s)
        if objective.ttft_s is not None:
            fine &= found.ttft_s <= objective.ttft_s
        if objective.tpot_s is not None:
            fine &= found.tpot_s <= objective.tpot_s
        if objective.e2e_s is not None:
            whole = found.ttft_s + (lengths.output_tokens - 1.0) * found.tpot_s
            fine &= whole <= objective.e2e_s
        low, high = np.where(fine, middle, low), np.where(fine, high, middle)
    return np.where(low > full.requests_per_s * 1e-4, low, 0.0)


def _curves(
    tables: Tables,
    engine: Engine,
    rows: np.ndarray[tuple[int], np.dtype[np.intp]],
    slots: Array,
    lengths: Lengths,
) -> list[tuple[tuple[float, float, float], ...]]:
    """Return users, tokens a second and user, and tokens a second and device of each layout."""
    many, users = np.repeat(rows, len(USERS)), np.tile(USERS, len(rows))
    found = closed_loop(tables, engine, many, users, lengths.columns(len(many)))
    each = found.output_tokens_per_s / tables.layouts.devices[many]
    fits = users <= slots[many]
    return [
        tuple(
            (float(users[i]), float(1.0 / found.tpot_s[i]), float(each[i]))
            for i in np.flatnonzero((many == row) & fits)
        )
        for row in rows
    ]


def _experts(model: Architecture) -> int:
    found = 0
    for block in model.blocks():
        for op in block.operators:
            if isinstance(op, Experts):
                found = math.gcd(found, int(op.chosen_from))
    return found
