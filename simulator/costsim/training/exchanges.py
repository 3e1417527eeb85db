"""Exchanges inside a layer: what tensor, context and expert parallelism send, and its time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from costsim.algebra import Number
from costsim.architectures.block import Block
from costsim.architectures.operators import Attention, Experts
from costsim.architectures.operators.wrapping import Again, unwrapped
from costsim.architectures.work import Direction
from costsim.architectures.workload import Execution
from costsim.hardware.collectives import Operation, collective_time_s
from costsim.hardware.experts import UNITS, Phase, expert_exchange_time_s
from costsim.training.cp_exchange import ALL_TO_ALL
from costsim.training.job import Job
from costsim.training.strategy import Column, Strategies

PHASES: tuple[Phase, ...] = ("dispatch", "combine")
_LAUNCHES = 2.0  # of a collective: an event to wait for, and the transfer
WIRE = {"all_reduce": 2.0, "all_gather": 1.0, "reduce_scatter": 1.0}
"""Times (n − 1)/n of the payload that a ring sends from each of n ranks."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One collective of a tensor-parallel group over a tensor of `elements`."""

    name: str
    direction: Direction
    operation: Operation
    elements: Number


def tensor_exchanges(block: Block, *, divided: bool) -> tuple[Exchange, ...]:
    """Return what one layer exchanges over its tensor-parallel group.

    Partial sums are reduced forward at an exit and backward at an entry (Shoeybi et al. 2019).
    Where positions are `divided` too (sequence parallelism), the reduction becomes a
    reduce-scatter and the other direction gathers; and an entry, which keeps its divided input,
    gathers it again for the gradient of its weights (Korthikanti et al. 2022, section 4.2.2).
    """
    found: list[Exchange] = []
    for collective in block.collectives():
        name, elements = collective.name, collective.elements
        reducing: Direction = "forward" if collective.side == "exit" else "backward"
        other: Direction = "backward" if collective.side == "exit" else "forward"
        if not divided:
            found.append(Exchange(name, reducing, "all_reduce", elements))
            continue
        found.append(Exchange(name, reducing, "reduce_scatter", elements))
        found.append(Exchange(name, other, "all_gather", elements))
        if collective.side == "entry":
            found.append(Exchange(f"{name} again", "backward", "all_gather", elements))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Exchanges:
    """What the ranks of a layer exchange: arrays (directions, blocks, rows) by axis.

    Seconds of a layer, bytes that a device sends, what the host starts for tensor-parallel ones.
    """

    launches: np.ndarray
    tensor_s: np.ndarray
    context_s: np.ndarray
    expert_s: np.ndarray
    tensor_bytes: np.ndarray
    context_bytes: np.ndarray
    expert_bytes: np.ndarray

    def of(self, blocks: slice) -> Exchanges:
        """Return the exchanges of some blocks."""
        return Exchanges(*(getattr(self, field.name)[:, blocks] for field in fields(self)))


def exchanges(
    job: Job, kinds: Sequence[Block], local: Sequence[Block], strategies: Strategies
) -> Exchanges:
    """Return what `strategies` exchange in layers of `kinds`, of which a device has `local`."""
    launches, tensor_s, tensor_bytes = tensor_parallel(job, kinds, strategies.tp, strategies.sp)
    context_s, context_bytes = context_parallel(job, local, strategies)
    expert_s, expert_bytes = expert_parallel(job, local, strategies.ep, strategies.etp)
    return Exchanges(
        launches, tensor_s, context_s, expert_s, tensor_bytes, context_bytes, expert_bytes
    )


def tensor_parallel(
    job: Job, kinds: Sequence[Block], tp: Column, sp: Column
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return launches, seconds and bytes sent by a device: (directions, blocks, rows)."""
    seconds = np.zeros((2, len(kinds), len(tp)))
    launches, sent = np.zeros_like(seconds), np.zeros_like(seconds)
    if np.all(tp == 1):
        return launches, seconds, sent
    for divided in (False, True):
        mine = (sp > 0) == divided
        if not mine.any():
            continue
        group = tp[mine]
        several = _LAUNCHES * (group > 1)
        calls: dict[Operation, list[tuple[int, int, Number]]] = defaultdict(list)
        for index, block in enumerate(kinds):
            for exchange in tensor_exchanges(block, divided=divided):
                way = 0 if exchange.direction == "forward" else 1
                calls[exchange.operation].append((way, index, exchange.elements))
        for operation, exchanged in calls.items():
            ways, blocks, elements = zip(*exchanged, strict=True)
            sizes = np.array([np.broadcast_to(e, tp.shape) for e in elements], float)[:, mine]
            sizes *= job.recipe.activation_bytes
            times = collective_time_s(job.system, operation, sizes, group, 1.0)
            wires = WIRE[operation] * sizes * (group - 1) / group
            # One block has several exchanges of a kind: figures add up, place by place.
            where = (np.array(ways)[:, None], np.array(blocks)[:, None], np.flatnonzero(mine))
            np.add.at(seconds, where, times)
            np.add.at(sent, where, wires)
            np.add.at(launches, where, several)
    return launches, seconds, sent


def context_parallel(
    job: Job, local: Sequence[Block], strategies: Strategies
) -> tuple[np.ndarray, np.ndarray]:
    """Return seconds and bytes sent by a device: (directions, blocks, rows).

    In a ring each rank passes its keys and values on cp − 1 times; backward the pieces go round
    again with their gradients. All-to-all exchanges queries, keys, values and context, and backward
    the gradients of each.
    """
    tp, cp, rows = strategies.tp, strategies.cp, len(strategies)
    seconds = np.zeros((2, len(local), rows))
    sent = np.zeros_like(seconds)
    if np.all(cp == 1):
        return seconds, sent
    width = job.recipe.activation_bytes
    switched = (strategies.cp_exchange == ALL_TO_ALL) & (cp > 1)
    ring = ~switched
    for index, block in enumerate(local):
        if ring.any():
            piece = np.broadcast_to(np.asarray(ring_elements(block, job) * width, float), (rows,))
            once = (cp - 1) * collective_time_s(job.system, "send_recv", piece, cp, tp)
            seconds[0, index] = ring * once
            seconds[1, index] = ring * 2 * once
            sent[0, index] = ring * (cp - 1) * piece
            sent[1, index] = 2 * sent[0, index]
        if switched.any():
            for elements in switched_elements(block, job.execution):
                payload = np.broadcast_to(np.asarray(elements * width, float), (rows,))
                time = collective_time_s(job.system, "all_to_all", payload, cp, tp)
                seconds[:, index] += switched * time
                sent[:, index] += switched * payload * (cp - 1) / cp
    return seconds, sent


def ring_elements(block: Block, job: Job) -> Number:
    """Return the elements of one rank's keys and values in a layer."""
    return sum(
        tensor.elements
        for operator in block.operators
        if operator.saved(job.execution) and isinstance(attention := unwrapped(operator), Attention)
        for tensor in attention.inputs()[1:]
    )


def switched_elements(block: Block, execution: Execution) -> tuple[Number, ...]:
    """Return the elements of each tensor of a rank that is exchanged between positions and heads.

    Queries, keys, values and context of each attention; keys and values that have fewer heads than
    there are ranks are repeated before.
    """
    return tuple(
        tensor.elements
        for operator in block.operators
        if operator.saved(execution) and isinstance(attention := unwrapped(operator), Attention)
        for tensor in (*attention.inputs(), attention.outputs()[0])
    )


def expert_parallel(
    job: Job, local: Sequence[Block], ep: Column, etp: Column
) -> tuple[np.ndarray, np.ndarray]:
    """Return seconds and bytes sent by taking tokens to their experts: (directions, blocks, rows).

    Forward tokens are dispatched and their outputs combined; backward the gradients of both go the
    same ways. Ranks of the group stand `etp` apart. Routing is even, as recipes for training force
    it or losses drive it to be.
    """
    seconds = np.zeros((2, len(local), len(ep)))
    sent = np.zeros_like(seconds)
    if np.all(ep == 1):
        return seconds, sent
    width = job.recipe.activation_bytes
    for index, block in enumerate(local):
        for whole in block.operators:
            operator = unwrapped(whole)
            if not isinstance(operator, Experts) or (isinstance(whole, Again) and whole.in_part):
                continue
            elements = np.broadcast_to(np.asarray(operator.routed_elements(), float), (len(ep),))
            seconds[:, index] += _there_and_back_s(job, operator, elements, ep, etp)
            sent[:, index] += 2 * elements * width * (ep - 1) / ep
    return seconds, sent


def _there_and_back_s(
    job: Job, operator: Experts, elements: np.ndarray, ep: Column, etp: Column
) -> np.ndarray:
    """Seconds of sending `elements` of tokens to their experts and back, by the dispatcher."""
    width, dispatcher = job.recipe.activation_bytes, job.software.dispatcher
    if dispatcher == "all_to_all":  # every choice of a token is a copy of its own
        once = collective_time_s(job.system, "all_to_all", elements * width, ep, etp)
        return len(PHASES) * once
    if dispatcher == "all_gather":  # all ranks get all tokens; their outputs are added up
        gathered = elements / operator.top_k * width * ep
        out_s = collective_time_s(job.system, "all_gather", gathered, ep, etp)
        return out_s + collective_time_s(job.system, "reduce_scatter", gathered, ep, etp)
    tokens = elements / (operator.hidden * operator.top_k)
    units = UNITS if dispatcher == "deep_ep" else np.inf
    return np.sum(
        [
            expert_exchange_time_s(
                job.system,
                phase,
                tokens,
                operator.hidden,
                operator.top_k,
                ep,
                etp,
                element_bytes=width,
                units=units,
                groups=float(operator.groups),
                group_limit=float(operator.group_limit),
            )
            for phase in PHASES
        ],
        axis=0,
    )
