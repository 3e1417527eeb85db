"""A strategy: how one training step is divided over devices and time.

Devices are numbered with tensor parallelism innermost, then context, data, and pipeline
parallelism outermost (Megatron-LM's order), so a tensor-parallel group is neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from costsim.training.cp_exchange import CP_EXCHANGES, CpExchange
from costsim.training.offload import OFFLOADED, OFFLOADS, Offload
from costsim.training.pipeline import DUALPIPE
from costsim.training.recompute import RECOMPUTE, Recompute
from costsim.training.schedule import SCHEDULES, Schedule

Column: TypeAlias = NDArray[np.float64]


NAMED: Mapping[str, tuple[str, ...]] = {
    "recompute": RECOMPUTE,
    "schedule": SCHEDULES,
    "offload": OFFLOADS,
    "cp_exchange": CP_EXCHANGES,
}
"""Axes whose values are names."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to train: degrees of parallelism, micro-batch, sharding and recomputation.

    `vp` is the number of model chunks a pipeline stage holds (interleaved 1F1B where above 1);
    `micro_batch` counts sequences; `zero` is the ZeRO stage (3 = FSDP) over dp·cp devices,
    or over dp·cp/`replicas` where whole copies are kept (HSDP, copies outermost);
    `schedule` is that of the pipeline (`costsim.training.pipeline`), `offload` what the host's
    memory keeps; `ep` divides the experts among data-parallel ranks, `etp` each expert's inside;
    `cp_exchange` is how context-parallel ranks come by what others hold.
    """

    tp: int = 1
    pp: int = 1
    vp: int = 1
    dp: int = 1
    cp: int = 1
    ep: int = 1
    etp: int = 1
    micro_batch: int = 1
    sp: bool = False
    zero: int = 0
    replicas: int = 1
    recompute: Recompute = "none"
    schedule: Schedule = "1f1b"
    offload: Offload = "none"
    cp_exchange: CpExchange = "ring"

    @property
    def devices(self) -> int:
        return self.tp * self.pp * self.dp * self.cp

    @property
    def division(self) -> tuple[int, int, int, int]:
        """Degrees that divide the devices: TP, PP, CP, DP."""
        return self.tp, self.pp, self.cp, self.dp

    def to_dict(self) -> dict[str, Any]:
        """Return the axes by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Strategies:
    """Many strategies as float64 columns of one length; named values are indices of `NAMED`."""

    tp: Column
    pp: Column
    vp: Column
    dp: Column
    cp: Column
    ep: Column
    etp: Column
    micro_batch: Column
    sp: Column
    zero: Column
    replicas: Column
    recompute: Column
    schedule: Column
    offload: Column
    cp_exchange: Column

    def __len__(self) -> int:
        return len(self.tp)

    @property
    def devices(self) -> Column:
        return self.tp * self.pp * self.dp * self.cp

    def offloads(self, what: str) -> NDArray[np.bool_]:
        """Return which strategies keep `what` in the host's memory."""
        taken = [what in OFFLOADED[name] for name in OFFLOADS]
        return np.array(taken)[self.offload.astype(np.intp)]

    @property
    def copies(self) -> Column:
        """How many devices of a pipeline hold each stage."""
        return np.where(self.schedule == DUALPIPE, 2.0, 1.0)

    @classmethod
    def of(cls, strategies: Iterable[Strategy]) -> Strategies:
        """Return columns of the given strategies."""
        rows = list(strategies)
        return cls.from_columns(
            {
                field.name: np.array([_number(row, field.name) for row in rows], float)
                for field in fields(cls)
            }
        )

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[Any]]) -> Strategies:
        """Return strategies of named columns, as float64 (int64 overflows silently)."""
        return cls(**{f.name: np.asarray(columns[f.name], np.float64) for f in fields(cls)})

    def columns(self) -> dict[str, Column]:
        """Return the columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def take(self, index: NDArray[Any] | slice) -> Strategies:
        """Return the strategies at `index` (or where it is true)."""
        return Strategies(**{name: column[index] for name, column in self.columns().items()})

    def distinct(self, *names: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return where each combination of the named axes first stands, and which each row has."""
        return distinct_rows([getattr(self, name) for name in names])

    def row(self, index: int) -> Strategy:
        """Return one strategy."""
        values: dict[str, Any] = {
            name: int(column[index]) for name, column in self.columns().items()
        }
        values["sp"] = bool(values["sp"])
        values |= {name: known[values[name]] for name, known in NAMED.items()}
        return Strategy(**values)


def distinct_rows(columns: Sequence[Column]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the index of the first of each distinct row, and the number of each row's own.

    Columns hold non-negative whole numbers, so that a row is one number of mixed radix; sorting
    those is many times as fast as sorting rows.
    """
    if len(columns[0]) == 1:
        return np.zeros(1, np.intp), np.zeros(1, np.intp)
    key = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        whole = column.astype(np.int64)
        key = key * (int(whole.max(initial=0)) + 1) + whole
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    return first, which.reshape(-1)


def _number(strategy: Strategy, name: str) -> float:
    value = getattr(strategy, name)
    return float(NAMED[name].index(value) if name in NAMED else value)
