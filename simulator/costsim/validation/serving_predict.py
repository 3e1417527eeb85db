"""Predictions of inference runs: rows of one model and device are evaluated together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from costsim.errors import CostsimError
from costsim.inference.intervals import Quantity, serving_interval
from costsim.inference.outcomes import Outcome, outcomes
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
    """What is predicted for a row of its deployment."""

    configuration: ServedRun
    outcome: Outcome


def predict_serving(runs: Sequence[Run], folder: Path) -> list[ServingPrediction | str]:
    """Return for every row its prediction, or why there is none.

    Args:
        runs: rows of a file.
        folder: where paths in the column `config` start.
    """
    rows = [run.fault or served_run(run, folder) for run in runs]
    known = [index for index, row in enumerate(rows) if isinstance(row, ServedRun)]
    cases = [row.case for row in rows if isinstance(row, ServedRun)]
    found: list[ServingPrediction | str] = [row if isinstance(row, str) else "" for row in rows]
    for index, outcome in zip(known, outcomes(cases), strict=True):
        row = rows[index]
        if isinstance(outcome, CostsimError):
            found[index] = "; ".join(problem.message for problem in outcome.problems)
        elif isinstance(row, ServedRun):
            found[index] = ServingPrediction(row, outcome)
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
    configuration, outcome = prediction.configuration, prediction.outcome
    offline = configuration.case.load.kind == "max-throughput"
    parts: list[str] = []
    if outcome.slots < 1:
        parts.append("out of memory: weights leave no room for a request")
    if configuration.assumed:
        parts.append("assumed: " + ", ".join(configuration.assumed))
    found: list[Entry] = []
    for name, quantity, scale in _QUANTITIES:
        if offline and quantity != "output_tokens_per_s":
            continue
        value = float(getattr(outcome, quantity))
        measured = run.number.get(name)
        if not math.isfinite(value):
            reason = "the queue grows without end at this rate"
            found.append(Entry(run, name, None, None, None, measured, reason))
            continue
        low, high = serving_interval(quantity, value, routed=configuration.routed)
        reason = "; ".join(parts)
        found.append(Entry(run, name, value * scale, low * scale, high * scale, measured, reason))
    return found
