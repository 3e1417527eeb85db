"""Rows of inference engines: time to first token, time per output token, tokens a second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from costsim.architectures.architecture import Architecture
from costsim.costs.serving_power import serving_power_w
from costsim.errors import CostsimError
from costsim.inference import outcomes as loads
from costsim.inference.intervals import Quantity, serving_interval, serving_kind
from costsim.validation.kind import Context, Figure, Kind, each, outcomes
from costsim.validation.runs import Run
from costsim.validation.serving import ServedRun, served_run

# A quantity of the runs file, that of the estimate, and how many of the former make one.
_QUANTITIES: tuple[tuple[str, Quantity, float], ...] = (
    ("ttft_ms", "ttft_s", 1e3),
    ("tpot_ms", "tpot_s", 1e3),
    ("output_tokens_per_s", "output_tokens_per_s", 1.0),
    ("ttft_p99_ms", "ttft_p99_s", 1e3),
)

_POWER = "power_w_per_device"


@dataclass(frozen=True, slots=True)
class ServingPrediction:
    """What is predicted of a row."""

    configuration: ServedRun
    outcome: loads.Outcome


def _predict(rows: Sequence[ServedRun], _: Context) -> list[ServingPrediction | str]:
    found: list[ServingPrediction | str] = []
    for row, outcome in zip(rows, loads.outcomes([row.case for row in rows]), strict=True):
        if isinstance(outcome, CostsimError):
            found.append("; ".join(problem.message for problem in outcome.problems))
        else:
            found.append(ServingPrediction(row, outcome))
    return found


def predict_serving(runs: Sequence[Run], folder: Path) -> list[ServingPrediction | str]:
    """Return for every row its prediction, or why there is none.

    Args:
        runs: rows of a file.
        folder: where paths in the column `config` start.
    """
    return outcomes(SERVING, runs, Context(folder))


def _measured(run: Run) -> dict[str, float]:
    names = (*(name for name, *_ in _QUANTITIES), _POWER)
    return {name: run.number[name] for name in names if run.number.get(name)}


def _figures(run: Run, prediction: ServingPrediction) -> list[Figure]:
    configuration, outcome = prediction.configuration, prediction.outcome
    offline = configuration.case.load.kind == "max-throughput"
    parts: list[str] = []
    if outcome.slots < 1:
        parts.append("out of memory: weights leave no room for a request")
    if configuration.assumed:
        parts.append("assumed: " + ", ".join(configuration.assumed))
    found: list[Figure] = []
    for name, quantity, scale in _QUANTITIES:
        if offline and quantity != "output_tokens_per_s":
            continue
        value, measured = float(getattr(outcome, quantity)), run.number.get(name)
        if not math.isfinite(value):
            reason = "the queue grows without end at this rate"
            found.append(Figure(name, None, measured=measured, reason=reason))
            continue
        kind = serving_kind(
            configuration.case.engine.profile,
            "apart" if configuration.case.pools else configuration.case.load.kind,
            routed=configuration.routed,
        )
        limits = serving_interval(quantity, value, routed=configuration.routed, kind=kind)
        figure = Figure(name, value, *limits, measured, "; ".join(parts))
        found.append(figure.scaled(scale))
    if run.number.get(_POWER):
        found.append(_power(run, prediction))
    return found


def _power(run: Run, prediction: ServingPrediction) -> Figure:
    """Return the power of one device alone, where it was metered."""
    measured, tdp_w = run.number.get(_POWER), prediction.configuration.system.accelerator.tdp_w
    if "power limit" in run.text.get("notes", ""):
        return Figure(
            _POWER, None, measured=measured, reason="its power is limited below its rating"
        )
    if tdp_w is None:
        return Figure(_POWER, None, measured=measured, reason="no rated power is known")
    power = serving_power_w(tdp_w, utilization(prediction))
    return Figure(_POWER, power.value, power.low, power.high, measured)


def utilization(prediction: ServingPrediction) -> float:
    """Return FLOPs of all passes over what the peak rate of the weights' format could do."""
    case = prediction.configuration.case
    tokens = round(case.load.input_tokens + case.load.output_tokens)
    peak = case.system.accelerator.peak_flops_per_s(
        "fp8" if case.quantization.dense.startswith("fp8") else "bf16"
    )
    flops = _request_flops(case.model, tokens)
    return flops * prediction.outcome.requests_per_s / (case.devices * peak)


@lru_cache(maxsize=256)
def _request_flops(model: Architecture, tokens: int) -> int:
    return model.forward_flops(1, tokens)


SERVING: Kind[ServedRun, ServingPrediction] = Kind(
    "serving",
    "inference",
    each(lambda run, context: served_run(run, context.folder)),
    _predict,
    _figures,
    _measured,
    "tpot_ms",
)
