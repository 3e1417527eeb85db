"""Calibration: a user's few measured steps refine the constants of their cluster.

Each constant is a factor on the packaged one, drawn to it as far as the rows leave it open: the
least of squared errors in log time, of which a row is trusted to `ROW_SPREAD`, plus squared
distances from the packaged constants in their own spreads (a Gaussian prior). A constant that no
row tells about stays as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, inf, log
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from costsim.errors import SpecError
from costsim.hardware.calibration import class_of
from costsim.training.evaluate import stream_width
from costsim.training.job import Job
from costsim.training.overlay import LOSSES_REFINED, SOFTWARE_REFINED, Overlay, most_of
from costsim.training.profile import profile
from costsim.training.stages import stages
from costsim.training.strategy import Strategies, Strategy
from costsim.training.timing import step_times
from costsim.training.traffic import data_parallel, pipeline_transfer
from costsim.validation.kinds.language import measured_step_time_s, predict
from costsim.validation.runs import read_runs

ROW_SPREAD = 0.05
"""Standard deviation of the logarithm of a step time that constants cannot explain: what remains of
published runs when they are fitted (docs/accuracy.md)."""
SPREADS = {
    "sustained_ratio": 0.10,
    "sustained_narrow_ratio": 0.10,
    "sustained_attention_ratio": 0.15,
    "routing_ratio": 0.20,
    "contention_ratio": 0.50,
    "straggler_ratio": 0.70,
    "passes_ratio": 0.20,
    "launch_s": 0.50,
    "step_s": 0.50,
}
"""Standard deviations of the logarithms of constants between clusters of one kind, as far as
published runs of different sources need different ones (benchmarks/calibration/fit_training.py)."""
_ITERATIONS = 4
_STEP = 1e-3  # of a logarithm, for gradients
_COVERED = 0.8  # share of measurements that an interval holds
_REPEATED = 1.28 * ROW_SPREAD  # of a logarithm: holds as many of what constants cannot explain


_Row: TypeAlias = tuple[str, float, Strategy, float]
"""Group, measured seconds, strategy, share of layers that are recomputed as it says."""
_Constant: TypeAlias = tuple[str, str, str, float]
"""Table, owner, field, packaged value."""


@dataclass(frozen=True, slots=True)
class Refined:
    """One constant: where it stands, as packaged and as refined."""

    table: str  # losses, software
    owner: str
    field: str
    packaged: float
    refined: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Refined constants, and median errors over groups of rows before and after.

    `left_out` predicts each group by constants refined on all others.
    """

    overlay: Overlay
    constants: tuple[Refined, ...]
    rows: int
    groups: int
    before: float
    after: float
    left_out: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the overlay as it is written to a file."""
        fit = {
            "rows": self.rows,
            "groups": self.groups,
            "median_abs_error_before": round(self.before, 4),
            "median_abs_error_after": round(self.after, 4),
        }
        if self.left_out is not None:
            fit["median_abs_error_left_out"] = round(self.left_out, 4)
        return {
            "losses": {k: dict(v) for k, v in self.overlay.losses.items()},
            "software": {k: dict(v) for k, v in self.overlay.software.items()},
            "within": {
                name: {"low_ratio": low, "high_ratio": high}
                for name, (low, high) in self.overlay.within.items()
            },
            "fit": fit,
        }


@dataclass(frozen=True, slots=True)
class _Measured:
    """Rows of one job: their strategies and, of each row, what it adds up from them."""

    job: Job
    strategies: Strategies
    rest: tuple[Any, ...]  # of what `step_times` takes, nothing of which depends on the constants
    terms: tuple[tuple[tuple[int, float], ...], ...]  # of a row: (strategy, weight)

    @classmethod
    def of(cls, job: Job, members: Sequence[_Row]) -> _Measured:
        """Return rows of one job."""
        strategies: list[Strategy] = []
        terms: list[tuple[tuple[int, float], ...]] = []
        for _, _, strategy, share in members:
            row = [(len(strategies), share)]
            strategies.append(strategy)
            if share < 1:  # the rest of the layers are not recomputed
                row.append((len(strategies), 1 - share))
                strategies.append(replace(strategy, recompute="none"))
            terms.append(tuple(row))
        columns = Strategies.of(strategies)
        return cls(job, columns, _timed(job, columns), tuple(terms))

    def step_s(self, overlay: Overlay) -> np.ndarray:
        """Return the predicted seconds of each row."""
        job = overlay.apply(self.job)
        times = np.sum(list(step_times(job, self.strategies, *self.rest).values()), axis=0)
        return np.array([sum(weight * times[i] for i, weight in row) for row in self.terms])

    def depends_on(self, table: str, owner: str) -> bool:
        """Return whether constants of `owner` are its own."""
        if table == "software":
            return owner == self.job.software.name
        return owner == class_of(self.job.system.accelerator.architecture)


def calibrate(path: str | Path) -> Calibration:
    """Return the constants that the measured steps of a runs file refine.

    Raises:
        SpecError: if the file is not one of training runs, or no row has a step time that is
            measured and can be predicted.
    """
    file = read_runs(path)
    if file.kind != "training":
        raise SpecError(f"{Path(path).name} holds {file.kind} runs, not runs of training")
    rows: dict[Job, list[_Row]] = defaultdict(list)
    for run, prediction in zip(file.runs, predict(file.runs), strict=True):
        if isinstance(prediction, str) or prediction.configuration.guessed:
            continue
        if measured_s := measured_step_time_s(run, prediction):
            row = run.group, measured_s, prediction.strategy, prediction.share
            rows[prediction.configuration.job].append(row)
    if not rows:
        raise SpecError(
            f"{Path(path).name} has no row with a measured step that can be predicted",
            hint="fill step_time_s, tokens_per_s_per_gpu, samples_per_s_per_gpu or tflops_per_gpu",
        )
    measured = [_Measured.of(job, members) for job, members in rows.items()]
    groups = [group for members in rows.values() for group, *_ in members]
    target = np.log([step_s for members in rows.values() for _, step_s, *_ in members])
    constants = _constants(list(rows))
    spreads = np.array([SPREADS[field] for _, _, field, _ in constants])

    most = np.array([log(_most(*one) / one[-1]) for one in constants])

    def predicted(x: np.ndarray) -> np.ndarray:
        overlay = _overlay(constants, x)
        return np.log(np.concatenate([one.step_s(overlay) for one in measured]))

    x = np.zeros(len(constants))
    before = error = predicted(x) - target
    slopes = np.zeros((len(error), len(x)))
    for _ in range(_ITERATIONS):
        slopes = _slopes(measured, constants, x, error + target)
        x = np.minimum(x + _towards(slopes, error, x, spreads), most)
        error = predicted(x) - target
    left_out = _left_out(slopes, error, x, spreads, groups)
    owners = {class_of(job.system.accelerator.architecture) for job in rows}
    within = _within(left_out) if left_out else None
    return Calibration(
        replace(
            _overlay(constants, x, rounded=True),
            within=dict.fromkeys(sorted(owners), within) if within else {},
        ),
        tuple(
            Refined(table, owner, field, value, value * exp(step))
            for (table, owner, field, value), step in zip(constants, x, strict=True)
        ),
        rows=len(target),
        groups=len(set(groups)),
        before=_median_error(before, groups),
        after=_median_error(error, groups),
        left_out=float(np.median(np.abs(np.expm1(left_out)))) if left_out else None,
    )


def _most(table: str, owner: str, field: str, _: float) -> float:
    """Return the largest value of a constant."""
    return most_of(owner, field) if table == "losses" else inf


def _timed(job: Job, strategies: Strategies) -> tuple[Any, ...]:
    """Return what `step_times` takes after job and strategies."""
    profiled, _ = profile(job, strategies)
    held = stages(job.model, strategies.pp, strategies.vp, strategies.copies)
    micro_batches = job.global_batch / (strategies.dp * strategies.micro_batch)
    data = data_parallel(job, strategies, held, profiled, micro_batches)
    boundary_s, _ = pipeline_transfer(job, strategies, stream_width(job.model))
    return held, profiled, data, micro_batches, boundary_s


def _slopes(
    measured: Sequence[_Measured],
    constants: Sequence[_Constant],
    x: np.ndarray,
    at: np.ndarray,
) -> np.ndarray:
    """Return by how much each constant's logarithm moves that of each row's time."""
    found = np.zeros((len(at), len(x)))
    for column, (table, owner, _, _) in enumerate(constants):
        overlay = _overlay(constants, x + _STEP * (np.arange(len(x)) == column))
        start = 0
        for one in measured:
            rows = slice(start, start + len(one.terms))
            if one.depends_on(table, owner):
                found[rows, column] = (np.log(one.step_s(overlay)) - at[rows]) / _STEP
            start += len(one.terms)
    return found


def _constants(jobs: Sequence[Job]) -> list[_Constant]:
    """Return all constants that the jobs depend on; those that are 0 stay so."""
    found: dict[tuple[str, str, str], float] = {}
    for job in jobs:
        owner = class_of(job.system.accelerator.architecture)
        for field in LOSSES_REFINED:
            found["losses", owner, field] = getattr(job.lost, field)
        for field in SOFTWARE_REFINED:
            found["software", job.software.name, field] = getattr(job.software, field)
    return [(*key, value) for key, value in found.items() if value > 0]


def _overlay(constants: Sequence[_Constant], x: np.ndarray, *, rounded: bool = False) -> Overlay:
    tables: dict[str, dict[str, dict[str, float]]] = {"losses": {}, "software": {}}
    for (table, owner, field, value), step in zip(constants, x, strict=True):
        refined = value * exp(step)
        if rounded:
            if abs(step) < _STEP:  # nothing was learnt about it
                continue
            refined = float(f"{refined:.4g}")
        tables[table].setdefault(owner, {})[field] = refined
    return Overlay(tables["losses"], tables["software"])


def _towards(
    slopes: np.ndarray, error: np.ndarray, x: np.ndarray, spreads: np.ndarray
) -> np.ndarray:
    """Return the step to the least of weighted squares, errors taken as linear."""
    # A row far off says that something else was different there; it counts by its distance alone.
    trust = (1 + (error / (2 * ROW_SPREAD)) ** 2) ** -0.25 / ROW_SPREAD
    matrix = np.vstack([slopes * trust[:, None], np.diag(1 / spreads)])
    aim = np.concatenate([-error * trust, -x / spreads])
    step, *_ = np.linalg.lstsq(matrix, aim, rcond=None)
    return step


def _by_group(error: np.ndarray, groups: Sequence[str]) -> list[float]:
    """Return the median logarithm of predicted over measured of each group."""
    by: dict[str, list[float]] = defaultdict(list)
    for group, one in zip(groups, error, strict=True):
        by[group].append(float(one))
    return [float(np.median(ones)) for ones in by.values()]


def _median_error(error: np.ndarray, groups: Sequence[str]) -> float:
    return float(np.median(np.abs(np.expm1(_by_group(error, groups)))))


def _left_out(
    slopes: np.ndarray, error: np.ndarray, x: np.ndarray, spreads: np.ndarray, groups: Sequence[str]
) -> list[float]:
    """Return the error of each group, predicted without itself; none where there is but one."""
    names = np.array(groups)
    if len(set(groups)) < 2:
        return []
    found = error.copy()
    for name in set(groups):
        mine = names == name
        step = _towards(slopes[~mine], error[~mine], x, spreads)
        found[mine] = error[mine] + slopes[mine] @ step
    return _by_group(found, groups)


def _within(left_out: Sequence[float]) -> tuple[float, float] | None:
    """Return the multipliers that hold 8 of 10 measurements, by errors of groups left out.

    The least of n errors that a new one exceeds no more than 2 times in 10 is the ⌈0.8(n + 1)⌉-th
    (Vovk et al. 2005): fewer than four groups have none. Rows that happen to agree promise no more
    than repeated runs keep.
    """
    number = ceil(_COVERED * (len(left_out) + 1))
    if number > len(left_out):
        return None
    widest = max(sorted(map(abs, left_out))[number - 1], _REPEATED)
    return float(f"{exp(-widest):.4f}"), float(f"{exp(widest):.4f}")
