"""Rows that train language models: step, memory, and device-hours and energy of whole projects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from costsim.costs.energy import reported_energy_kwh
from costsim.planning.intervals import (
    memory_interval,
    sample_step_time_interval,
    step_time_interval,
)
from costsim.training.goodput import checkpoint_bytes, goodput, reliability
from costsim.training.overlay import Overlay
from costsim.units import format_bytes
from costsim.validation.configuration import Configuration, configuration_of
from costsim.validation.kind import Context, Figure, Kind, each, outcomes
from costsim.validation.predict import Prediction, predictions
from costsim.validation.runs import Run

_GIGA, _TERA, _HOUR_S = 1e9, 1e12, 3600.0
_MEASURED = ("step_time_s", "memory_gb_per_gpu", "gpu_hours", "energy_mwh")


def predict(runs: Sequence[Run], overlay: Overlay | None = None) -> list[Prediction | str]:
    """Return for every row its prediction, or why there is none.

    An `overlay` replaces constants by those of a calibration.
    """
    return outcomes(LANGUAGE, runs, Context(overlay=overlay))


def measured_step_time_s(run: Run, prediction: Prediction) -> float | None:
    """Return the seconds of a step: measured, or from tokens or samples a second, or TFLOP/s.

    TFLOP/s are converted only where nothing else is stated, with the FLOPs of the model in full
    (no saving for causal masks, no recomputation), which is what most frameworks count. Of an
    assumed batch or sequence, the step takes what these rates say; a measured one is another's.
    """
    number, job = run.number, prediction.configuration.job
    if not prediction.configuration.complete:
        return None
    if number.get("step_time_s") and prediction.configuration.own_step:
        return number["step_time_s"]
    devices = job.system.count
    if number.get("tokens_per_s_per_gpu"):
        return prediction.tokens_per_step / (number["tokens_per_s_per_gpu"] * devices)
    if number.get("samples_per_s_per_gpu"):
        return job.global_batch / (number["samples_per_s_per_gpu"] * devices)
    if number.get("tflops_per_gpu"):
        flops = float(job.model.training_flops(1, job.sequence)) * job.global_batch
        return flops / (number["tflops_per_gpu"] * _TERA * devices)
    return None


def _case(run: Run, context: Context) -> Configuration | str:
    found = configuration_of(run, context.folder)
    if isinstance(found, str) or context.overlay is None:
        return found
    return replace(found, job=context.overlay.apply(found.job))


def _measured(run: Run) -> dict[str, float]:
    """Return what a row measured, as far as its cells alone tell."""
    number = run.number
    found = {name: number[name] for name in _MEASURED if number.get(name)}
    extent = (number.get(name) for name in ("global_batch", "seq_len", "n_devices"))
    batch, sequence, devices = (value or 0.0 for value in extent)
    rate = number.get("tokens_per_s_per_gpu")
    if "step_time_s" not in found and rate and devices:
        found["step_time_s"] = batch * sequence / (rate * devices)
    return {name: value for name, value in found.items() if value}


def _figures(run: Run, prediction: Prediction) -> list[Figure]:
    reason, found = _reason(prediction), list[Figure]()
    limits_s = _interval(prediction)
    if prediction.configuration.complete:
        measured = measured_step_time_s(run, prediction)
        step_s = prediction.step_time_s
        found.append(Figure("step_time_s", step_s, *limits_s, measured, reason))
        found.append(_memory(run, prediction, reason))
    else:
        measured = _measured(run)
        found.extend(
            Figure(name, None, measured=measured[name], reason=reason)
            for name in ("step_time_s", "memory_gb_per_gpu")
            if name in measured
        )
    if "total_tokens" in run.number:
        found.extend(_totals(run, prediction, limits_s, reason))
    return found


def _memory(run: Run, prediction: Prediction, reason: str) -> Figure:
    needed = prediction.memory_bytes
    capacity = prediction.configuration.job.system.accelerator.memory_usable_bytes
    if needed > capacity:
        short = f"out of memory: needs {format_bytes(needed)}, has {format_bytes(capacity)}"
        reason = "; ".join(part for part in (short, reason) if part)
    measured = run.number.get("memory_gb_per_gpu")
    limits = memory_interval(needed, stacked=prediction.configuration.held is not None)
    figure = Figure("memory_gb_per_gpu", needed, *limits, measured, reason)
    return figure.scaled(1 / _GIGA)


def _interval(prediction: Prediction) -> tuple[float, float]:
    configuration, step_s = prediction.configuration, prediction.step_time_s
    job = configuration.job
    low, high = step_time_interval(
        step_s,
        job.system,
        job.system.count,
        prediction.host_ratio,
        mixture=job.routes,
        searched=prediction.divided,
        recipe=job.precision.name,
        software="" if configuration.plain else job.software.name,
        guessed=configuration.guessed,
        within=job.within,
    )
    if configuration.plain:
        # Of examples, no language model has been measured: as far off as what has been.
        fastest, slowest = sample_step_time_interval(step_s, "eager")
        low, high = min(low, fastest), max(high, slowest)
    return low, high


def _totals(
    run: Run, prediction: Prediction, limits_s: tuple[float, float], reason: str
) -> list[Figure]:
    """Return device-hours and energy of a whole run, interruptions and checkpoints included."""
    hours_of = _hours(prediction, run.number["total_tokens"])
    hours, low, high = (hours_of(s) for s in (prediction.step_time_s, *limits_s))
    found = [Figure("gpu_hours", hours, low, high, run.number.get("gpu_hours"), reason)]
    accelerator = prediction.configuration.job.system.accelerator
    if accelerator.tdp_w is not None:
        energy, fastest, slowest = (
            reported_energy_kwh(x, accelerator.tdp_w, accelerator.id) for x in (hours, low, high)
        )
        measured = run.number.get("energy_mwh")
        kwh = Figure("energy_mwh", energy.value, fastest.low, slowest.high, measured, reason)
        found.append(kwh.scaled(1e-3))
    return found


def _hours(prediction: Prediction, tokens: float) -> Callable[[float], float]:
    """Return what makes device-hours of a whole run of so many tokens from seconds of its step."""
    job = prediction.configuration.job
    devices = job.system.count
    kept = goodput(devices, reliability(checkpoint_bytes(job) / devices))
    steps = tokens / prediction.tokens_per_step
    return lambda step_s: steps * step_s / kept.ratio * devices / _HOUR_S


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


LANGUAGE: Kind[Configuration, Prediction] = Kind(
    "language",
    "training",
    each(_case),
    lambda configurations, _: predictions(configurations),
    _figures,
    _measured,
    "step_time_s",
)
