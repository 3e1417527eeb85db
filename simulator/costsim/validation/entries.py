"""Entries: one for each row and quantity, with what was predicted and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from costsim.costs.energy import reported_energy_kwh
from costsim.planning.intervals import (
    memory_interval,
    sample_step_time_interval,
    step_time_interval,
)
from costsim.training.goodput import checkpoint_bytes, goodput, reliability
from costsim.units import format_bytes
from costsim.validation.predict import Prediction
from costsim.validation.quantities import measured_step_time_s
from costsim.validation.runs import Run

Status = Literal["scored", "predicted", "unsupported"]

UNITS = {
    "step_time_s": "s",
    "memory_gb_per_gpu": "GB",
    "gpu_hours": "h",
    "energy_mwh": "MWh",
    "ttft_ms": "ms",
    "tpot_ms": "ms",
    "output_tokens_per_s": "tokens/s",
    "samples_per_s": "samples/s",
}
_GIGA = 1e9
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A quantity of a row. `status` says whether it is predicted, and whether it was measured too.

    `reason` says why it is unsupported; of predictions, what was assumed where the row is silent.
    """

    run: Run
    quantity: str
    predicted: float | None
    low: float | None
    high: float | None
    measured: float | None
    reason: str

    @property
    def unit(self) -> str:
        return UNITS[self.quantity]

    @property
    def status(self) -> Status:
        if self.predicted is None:
            return "unsupported"
        return "predicted" if self.measured is None else "scored"


def entries(runs: Sequence[Run], predictions: Iterable[Prediction | str]) -> list[Entry]:
    """Return the entries of all rows, in their order."""
    found: list[Entry] = []
    for run, prediction in zip(runs, predictions, strict=True):
        if isinstance(prediction, str):
            found.extend(_unsupported(run, prediction))
        else:
            found.extend(_entries(run, prediction))
    return found


def _unsupported(run: Run, reason: str) -> list[Entry]:
    """Return an entry for each quantity that the row measured; one of its time if it did none."""
    measured = [name for name in UNITS if name in run.number]
    return [
        Entry(run, name, None, None, None, run.number.get(name), reason)
        for name in measured or ["step_time_s"]
    ]


def _entries(run: Run, prediction: Prediction) -> list[Entry]:
    job = prediction.configuration.job
    reason = _reason(prediction)
    found: list[Entry] = []
    step_s, memory_bytes = prediction.step_time_s, prediction.memory_bytes
    if prediction.configuration.complete:
        low, high = _interval(prediction)
        measured = measured_step_time_s(run, prediction)
        found.append(Entry(run, "step_time_s", step_s, low, high, measured, reason))
        low, high = memory_interval(memory_bytes)
        capacity = job.system.accelerator.memory_usable_bytes
        short = (
            f"out of memory: needs {format_bytes(memory_bytes)}, has {format_bytes(capacity)}"
            if memory_bytes > capacity
            else ""
        )
        found.append(
            Entry(
                run,
                "memory_gb_per_gpu",
                memory_bytes / _GIGA,
                low / _GIGA,
                high / _GIGA,
                run.number.get("memory_gb_per_gpu"),
                "; ".join(part for part in (short, reason) if part),
            )
        )
    else:
        found.extend(
            Entry(run, name, None, None, None, run.number[name], reason)
            for name in ("step_time_s", "memory_gb_per_gpu")
            if name in run.number
        )
    if "total_tokens" in run.number:
        found.extend(_totals(run, prediction, reason))
    return found


def _interval(prediction: Prediction) -> tuple[float, float]:
    configuration, step_s = prediction.configuration, prediction.step_time_s
    job = configuration.job
    low, high = step_time_interval(
        step_s,
        job.system,
        job.system.count,
        prediction.host_ratio,
        mixture=job.routes,
        guessed=configuration.guessed,
        within=job.within,
    )
    if configuration.plain:
        # Of examples, no language model has been measured: as far off as what has been.
        fastest, slowest = sample_step_time_interval(step_s, "eager")
        low, high = min(low, fastest), max(high, slowest)
    return low, high


def _totals(run: Run, prediction: Prediction, reason: str) -> list[Entry]:
    """Return device-hours and energy of a whole run, interruptions and checkpoints included."""
    job = prediction.configuration.job
    devices = job.system.count
    steps = run.number["total_tokens"] / prediction.tokens_per_step
    kept = goodput(devices, reliability(checkpoint_bytes(job) / devices))

    def hours(step_s: float) -> float:
        return steps * step_s / kept.ratio * devices / _HOUR_S

    low, high = _interval(prediction)
    device_hours = hours(prediction.step_time_s)
    accelerator = job.system.accelerator
    found = [
        Entry(
            run,
            "gpu_hours",
            device_hours,
            hours(low),
            hours(high),
            run.number.get("gpu_hours"),
            reason,
        )
    ]
    if accelerator.tdp_w is not None:
        energy = reported_energy_kwh(device_hours, accelerator.tdp_w, accelerator.id)
        slowest = reported_energy_kwh(hours(high), accelerator.tdp_w, accelerator.id)
        fastest = reported_energy_kwh(hours(low), accelerator.tdp_w, accelerator.id)
        found.append(
            Entry(
                run,
                "energy_mwh",
                energy.value / 1e3,
                fastest.low / 1e3,
                slowest.high / 1e3,
                run.number.get("energy_mwh"),
                reason,
            )
        )
    return found


def _reason(prediction: Prediction) -> str:
    """Say what was assumed or searched where the row is silent."""
    parts: list[str] = []
    if prediction.configuration.assumed:
        parts.append("assumed: " + ", ".join(prediction.configuration.assumed))
    if prediction.filled:
        strategy = prediction.strategy
        chosen = ", ".join(f"{name} {getattr(strategy, name)}" for name in prediction.filled)
        part = f" of {prediction.share:.0%} of the layers" if prediction.share < 1 else ""
        parts.append(f"searched: {chosen}{part}")
    return "; ".join(parts)
