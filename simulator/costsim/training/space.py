"""The space of legal strategies: every division of a step that frameworks accept.

A strategy is legal when heads, layers, batch and devices divide; whether it fits in memory is the
evaluator's question.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from costsim.architectures.architecture import Architecture
from costsim.architectures.division import Heads, divisors, heads_of
from costsim.architectures.operators import Experts
from costsim.architectures.operators.wrapping import unwrapped
from costsim.architectures.pictures import divides, native_image
from costsim.training.cp_exchange import ALL_TO_ALL, CP_EXCHANGES
from costsim.training.job import Job
from costsim.training.pipeline import is_legal
from costsim.training.recompute import SEARCHED
from costsim.training.schedule import SCHEDULES
from costsim.training.strategy import AXES, Strategies

MAX_MICRO_BATCH = 64  # sequences; searched no further unless a scenario names a larger one
_DIVISION = ("tp", "pp", "vp", "dp", "cp", "micro_batch", "ep", "etp", "schedule", "cp_exchange")
_SWITCHES = tuple(name for name, axis in AXES.items() if axis.crossed)
_OF_KERNELS = tuple(n for n in _SWITCHES if AXES[n].inside or n == "recompute")
_OF_OTHERS = tuple(name for name in _SWITCHES if name not in _OF_KERNELS)
_DIVIDES = {"sp": ("tp",), "zero": ("dp", "cp")}  # degrees that a switch needs above 1
SHORTEST_PIECE = 256  # tokens a context-parallel rank keeps: below, ring steps are all latency


@dataclass(frozen=True, slots=True)
class Limits:
    """What divides: facts of the model that bound the degrees of parallelism."""

    heads: int  # tp divides the query heads
    groups: tuple[int, ...]  # heads of keys and values: tp divides them, or is a multiple of them
    depth: int  # pp·vp divides the layers
    sequence: int
    global_batch: int
    experts: int = 1
    images: bool = False  # whether maps of images flow, which are cut neither in stages nor pieces
    largest_micro_batch: int = MAX_MICRO_BATCH  # searched where a scenario names none


if TYPE_CHECKING:

    class _Choices:
        def __init__(self, **axes: Sequence[Any] | None) -> None: ...

        def __getattr__(self, axis: str) -> Any: ...

else:
    _Choices = make_dataclass(
        "_Choices",
        [(name, Any, field(default=axis.searched)) for name, axis in AXES.items()],
        frozen=True,
        slots=True,
    )


class Choices(_Choices):
    """Values that an axis may take; None means every legal one."""

    __slots__ = ()


def limits_of(model: Architecture, sequence: int, global_batch: int) -> Limits:
    """Return what bounds parallelism for `model`: facts of its attention and its depth."""
    heads, experts = heads_of(model), 0
    for block in model.blocks():
        for operator in block.operators:
            bare = unwrapped(operator)
            if isinstance(bare, Experts):
                experts = math.gcd(experts, int(bare.experts))
    experts = max(experts, 1)
    if native_image(model) is None:
        depth = model.depth
        return Limits(heads.queries, heads.groups, depth, sequence, global_batch, experts)
    if not divides(model, heads.queries):
        heads = Heads()
    return Limits(heads.queries, heads.groups, 1, 1, global_batch, experts, images=True)


def limits_of_job(job: Job) -> Limits:
    """Return what bounds parallelism for `job`; samples may fill a device however many they are."""
    limits = limits_of(job.model, job.sequence, job.global_batch)
    if job.counts == "samples":
        return replace(limits, largest_micro_batch=job.global_batch)
    return limits


def _chosen(values: Sequence[int], wanted: Sequence[int] | None) -> list[int]:
    return [value for value in values if wanted is None or value in wanted]


@dataclass(frozen=True, slots=True)
class Space:
    """Every legal strategy of some numbers of devices, none of them made before it is asked for.

    Attributes:
        divisions: (rows, `_DIVISION`): how devices, layers and batch are divided.
        choices: values of the axes that any division may have.
    """

    divisions: np.ndarray
    choices: Choices

    @classmethod
    def of(cls, limits: Limits, device_counts: Sequence[int], choices: Choices) -> Space:
        """Return the space of `device_counts`.

        A pipeline that is not interleaved may have uneven stages; one that is must divide the
        layers.
        """
        found: list[tuple[int, ...]] = []
        for devices in device_counts:
            for tp in _chosen(_tensor_degrees(limits, devices), choices.tp):
                for cp in _chosen(_context_degrees(limits, devices // tp), choices.cp):
                    for pp in _chosen(divisors(devices // (tp * cp)), choices.pp):
                        dp = devices // (tp * cp * pp)
                        if pp > limits.depth or limits.global_batch % dp:
                            continue
                        if choices.dp is not None and dp not in choices.dp:
                            continue
                        found.extend(_within(limits, choices, tp, pp, dp, cp))
        return cls(np.array(found, float).reshape(-1, len(_DIVISION)), choices)

    def __len__(self) -> int:
        """Return the number of strategies."""
        columns = dict(zip(_DIVISION, self.divisions.T, strict=True))
        many = np.ones(len(self.divisions))
        for name in _SWITCHES:
            values = _searched(name, getattr(self.choices, name))
            many *= np.where(_divided(columns, name), len(values), values.count(0.0))
        return int(many.sum())

    def strategies(self) -> Strategies:
        """Return all strategies, in a fixed order."""
        return _strategies(self._columns(self.divisions, _SWITCHES))

    def kernels_in(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which strategies of divisions from `first` to `last` differ in their kernels.

        That is the index of a division and of an option of the axes that kernels depend on.
        """
        columns = self._columns(self.divisions[first:last], _OF_KERNELS)
        rows = np.arange(len(columns["tp"]))[_sensible(columns)]
        many = len(self._options(_OF_KERNELS))
        return (first + rows // many).astype(np.int32), (rows % many).astype(np.int16)

    def kernels(self, division: np.ndarray, option: np.ndarray) -> Strategies:
        """Return strategies with these kernels, nothing of them offloaded or under ZeRO."""
        chosen = dict(zip(_DIVISION, self.divisions[division].T, strict=True))
        options = self._options(_OF_KERNELS)[option].T
        return _strategies(chosen | dict(zip(_OF_KERNELS, options, strict=True)))

    def completed(self, kernels: Strategies) -> Strategies:
        """Return the strategies with the kernels of one of `kernels`."""
        columns = kernels.columns()
        names = [name for name in columns if name not in _OF_OTHERS]
        rows = np.stack([columns[name] for name in names], axis=1)
        return _strategies(_crossed(rows, names, self._options(_OF_OTHERS), _OF_OTHERS))

    def _columns(self, divisions: np.ndarray, switches: Sequence[str]) -> dict[str, np.ndarray]:
        return _crossed(divisions, _DIVISION, self._options(switches), switches)

    def _options(self, switches: Sequence[str]) -> np.ndarray:
        chosen = [_searched(name, getattr(self.choices, name)) for name in switches]
        return np.array(list(product(*chosen)), float)


def legal_strategies(
    limits: Limits, device_counts: Sequence[int], choices: Choices | None = None
) -> Strategies:
    """Return every legal strategy that uses one of `device_counts` devices, in a fixed order."""
    space = Space.of(limits, device_counts, choices or Choices())
    return space.strategies() if len(space.divisions) else Strategies.of([])


def _tensor_degrees(limits: Limits, devices: int) -> list[int]:
    return [tp for tp in Heads(limits.heads, limits.groups).degrees if devices % tp == 0]


def _context_degrees(limits: Limits, devices: int) -> list[int]:
    """Degrees whose ranks hold two equal pieces each, as balanced causal masks need."""
    return [
        cp
        for cp in divisors(devices)
        if cp == 1 or (limits.sequence % (2 * cp) == 0 and limits.sequence // cp >= SHORTEST_PIECE)
    ]


def _expert_degrees(limits: Limits, choices: Choices, ranks: int) -> list[tuple[int, int]]:
    """Return (ep, etp) that divide the experts over the ranks of one pipeline stage."""
    degrees = _chosen(divisors(limits.experts), choices.ep)
    return [
        (ep, etp)
        for ep in degrees
        for etp in _chosen(divisors(ranks) if limits.experts > 1 else [1], choices.etp)
        if ranks % (ep * etp) == 0
    ]


def _exchanges(limits: Limits, choices: Choices, tp: int, cp: int) -> list[int]:
    """Return how the ranks of a context may exchange; where there are none it makes no odds.

    All-to-all divides the heads of a rank once more. Keys and values are repeated where they have
    fewer heads.
    """
    if cp == 1:
        return [CP_EXCHANGES.index("ring")]
    held = tuple(max(group // tp, 1) for group in limits.groups)
    divides = Heads(limits.heads // tp, held).divide(cp)
    found = [CP_EXCHANGES.index(name) for name in choices.cp_exchange]
    return [exchange for exchange in found if divides or exchange != ALL_TO_ALL]


def _within(
    limits: Limits, choices: Choices, tp: int, pp: int, dp: int, cp: int
) -> list[tuple[int, ...]]:
    """Expert parallelism, micro-batches and interleavings of one division of the devices."""
    per_replica = limits.global_batch // dp
    found: list[tuple[int, ...]] = []
    experts = _expert_degrees(limits, choices, tp * dp * cp)
    schedules = [SCHEDULES.index(name) for name in choices.schedule]
    exchanges = _exchanges(limits, choices, tp, cp)
    for micro_batch in _chosen(divisors(per_replica), choices.micro_batch):
        if micro_batch > limits.largest_micro_batch and choices.micro_batch is None:
            break
        micro_batches = per_replica // micro_batch
        for vp in _chosen([1, *range(2, limits.depth // pp + 1)], choices.vp):
            if vp > 1 and limits.depth % (pp * vp):  # interleaving needs equal chunks
                continue
            for index in schedules:
                if is_legal(SCHEDULES[index], pp, vp, micro_batches):
                    found += [
                        (tp, pp, vp, dp, cp, micro_batch, ep, etp, index, exchange)
                        for ep, etp in experts
                        for exchange in exchanges
                    ]
    return found


Columns: TypeAlias = "Mapping[Any, np.ndarray]"
"""A column of numbers by axis."""


def _crossed(
    rows: np.ndarray, names: Sequence[str], options: np.ndarray, switches: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return columns of every row (of `names`) with every option (of `switches`)."""
    repeated = np.repeat(rows, len(options), axis=0)
    tiled = np.tile(options, (len(rows), 1))
    divided = dict(zip(names, repeated.T, strict=True))
    return divided | dict(zip(switches, tiled.T, strict=True))


def _divided(columns: Columns, switch: str) -> np.ndarray:
    """Return where there is something that a switch divides, so that it makes a difference."""
    ranks = np.full(len(columns["tp"]), 1.0 if switch in _DIVIDES else np.inf)
    for degree in _DIVIDES.get(switch, ()):
        ranks = ranks * columns[degree]
    return ranks > 1


def _sensible(columns: Columns) -> np.ndarray:
    """Return which rows have no switch on that does nothing."""
    sensible = np.ones(len(columns["tp"]), bool)
    for switch in _DIVIDES.keys() & columns.keys():
        sensible &= (columns[switch] == 0) | _divided(columns, switch)
    return sensible


def _strategies(columns: dict[str, np.ndarray]) -> Strategies:
    sensible = _sensible(columns)
    rows = {name: column[sensible] for name, column in columns.items()}
    defaults = {name: axis.number(axis.default) for name, axis in AXES.items()}
    absent = {n: np.full(int(sensible.sum()), d) for n, d in defaults.items() if n not in rows}
    return Strategies.from_columns(rows | absent)


def _searched(name: str, wanted: Sequence[Any] | None) -> list[float]:
    """Return the numbers of the values of an axis that are chosen, or that a search considers."""
    usual = SEARCHED if name == "recompute" else AXES[name].values
    return [AXES[name].number(value) for value in (usual if wanted is None else wanted)]
