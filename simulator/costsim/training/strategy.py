"""A strategy: how one training step is divided over devices and time.

Devices are numbered with tensor parallelism innermost, then context, data, and pipeline
parallelism outermost (Megatron-LM's order), so a tensor-parallel group is neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, make_dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from costsim.training.axes import Axis, axis
from costsim.training.cp_exchange import CP_EXCHANGES, CpExchange
from costsim.training.offload import OFFLOADED, OFFLOADS, Offload
from costsim.training.pipeline import DUALPIPE
from costsim.training.recompute import RECOMPUTE, RECOMPUTE_NAMES, Recompute
from costsim.training.schedule import SCHEDULE_NAMES, SCHEDULES, Schedule

Column: TypeAlias = NDArray[np.float64]


_OFFLOADED = {name: "offload" if name == "all" else f"{name} offloaded" for name in OFFLOADS}


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

    tp: int = axis(
        1, "Tensor parallelism.", inside=True, said="TP{}", degree=True, told=1, machinery=10
    )
    pp: int = axis(1, "Pipeline parallelism.", said="PP{}", degree=True, told=2, machinery=11)
    vp: int = axis(
        1,
        "Model chunks a pipeline stage holds; above 1 the schedule is interleaved.",
        said="VPP{}",
        degree=True,
        told=3,
        machinery=7,
    )
    dp: int = axis(1, "Data parallelism.", said="DP{}", degree=True, told=7)
    cp: int = axis(
        1, "Context parallelism.", inside=True, said="CP{}", degree=True, told=4, machinery=5
    )
    ep: int = axis(1, "Expert parallelism.", inside=True, said="EP{}", degree=True, told=5)
    # Dividing an expert's inside only pays for very wide ones: searched where it is asked for.
    etp: int = axis(1, searched=(1,), inside=True, said="ETP{}", degree=True, told=6)
    micro_batch: int = axis(
        1,
        "Sequences in a micro-batch.",
        inside=True,
        said="micro-batch {}",
        always=True,
        told=8,
        machinery=3,
    )
    sp: bool = axis(
        False,
        "Sequence parallelism within the tensor-parallel group.",
        values=(False, True),
        crossed=True,
        inside=True,
        said="SP",
        told=10,
        machinery=6,
    )
    zero: int = axis(
        0,
        "ZeRO stage: 0, 1, 2, or 3 (= FSDP).",
        values=(0, 1, 2, 3),
        crossed=True,
        reduces=False,
        said="ZeRO-{}",
        told=12,
        machinery=9,
    )
    replicas: int = axis(1, searched=(1,))
    recompute: Recompute = axis(
        "none",
        f"Activation recomputation: {', '.join(RECOMPUTE)}; left out, none and full (and selective "
        "where scores are kept).",
        values=RECOMPUTE,
        crossed=True,
        reduces=False,
        said=RECOMPUTE_NAMES,
        told=14,
        machinery=8,
    )
    schedule: Schedule = axis(
        "1f1b",
        "Pipeline schedule: 1f1b (interleaved where vp is above 1), gpipe, zb_h1, dualpipe.",
        values=SCHEDULES,
        searched=("1f1b",),
        said=SCHEDULE_NAMES,
        told=9,
        machinery=2,
    )
    offload: Offload = axis(
        "none",
        f"What the host's memory keeps: {', '.join(OFFLOADS)}.",
        values=OFFLOADS,
        searched=("none",),
        crossed=True,
        reduces=False,
        said=_OFFLOADED,
        told=13,
        machinery=1,
    )
    cp_exchange: CpExchange = axis(
        "ring",
        "How context-parallel ranks exchange: ring (keys and values go round), all_to_all "
        "(positions for heads, and back); left out, ring.",
        values=CP_EXCHANGES,
        searched=("ring",),
        reduces=False,
        said={"all_to_all": "CP by all-to-all"},
        told=11,
        machinery=4,
    )

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


AXES: Mapping[str, Axis] = {one.name: one.metadata["axis"] for one in fields(Strategy)}
"""All axes by name, in the order of a strategy's fields."""
_TOLD = sorted(AXES.items(), key=lambda pair: pair[1].told)


def division(strategy: Strategy) -> str:
    """Return how a strategy divides the devices, such as `TP8 PP8 VPP3 DP16`."""
    told = (axis.telling(getattr(strategy, name)) for name, axis in _TOLD if axis.degree)
    return " ".join(filter(None, told)) or "one device"


def details(strategy: Strategy) -> str:
    """Return the rest of a strategy, such as `micro-batch 1, SP, ZeRO-1, full recompute`."""
    told = (axis.telling(getattr(strategy, name)) for name, axis in _TOLD if not axis.degree)
    return ", ".join(filter(None, told))


def describe(strategy: Strategy) -> str:
    """Return a strategy in the field's notation: `TP8 PP8 VPP3 DP16, micro-batch 1`."""
    return f"{division(strategy)}, {details(strategy)}"


if TYPE_CHECKING:

    class _Columns:
        def __init__(self, **columns: Column) -> None: ...

        def __getattr__(self, axis: str) -> Column: ...

else:
    _Columns = make_dataclass(
        "_Columns", [(name, Column) for name in AXES], frozen=True, slots=True
    )


class Strategies(_Columns):
    """Many strategies as float64 columns of one length, one an axis; names are numbers."""

    __slots__ = ()

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
                name: np.array([axis.number(getattr(row, name)) for row in rows], float)
                for name, axis in AXES.items()
            }
        )

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[Any]]) -> Strategies:
        """Return strategies of named columns, as float64 (int64 overflows silently)."""
        return cls(**{name: np.asarray(columns[name], np.float64) for name in AXES})

    def columns(self) -> dict[str, Column]:
        """Return the columns by name."""
        return {name: getattr(self, name) for name in AXES}

    def take(self, index: NDArray[Any] | slice) -> Strategies:
        """Return the strategies at `index` (or where it is true)."""
        return Strategies(**{name: column[index] for name, column in self.columns().items()})

    @classmethod
    def joined(cls, several: Sequence[Strategies]) -> Strategies:
        """Return several runs of strategies, one after the other."""
        if not several:
            return cls.of([])
        columns = [one.columns() for one in several]
        return cls(**{name: np.concatenate([one[name] for one in columns]) for name in AXES})

    def distinct(self, *names: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return where each combination of the named axes first stands, and which each row has."""
        return distinct_rows([getattr(self, name) for name in names])

    def row(self, index: int) -> Strategy:
        """Return one strategy."""
        columns = self.columns()
        return Strategy(**{name: axis.value(columns[name][index]) for name, axis in AXES.items()})


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
