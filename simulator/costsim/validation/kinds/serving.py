"""Rows of inference engines: time to first token, time per output token, tokens a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from costsim.inference.intervals import Quantity, serving_interval
from costsim.validation.kind import Context, Figure, Kind, each, outcomes
from costsim.validation.runs import Run
from costsim.validation.serving import ServedRun, served_run
from costsim.validation.serving_predict import ServingPrediction, predictions

# A quantity of the runs file, that of the estimate, and how many of the former make one.
_QUANTITIES: tuple[tuple[str, Quantity, float], ...] = (
    ("ttft_ms", "ttft_s", 1e3),
    ("tpot_ms", "tpot_s", 1e3),
    ("output_tokens_per_s", "output_tokens_per_s", 1.0),
)


def predict_serving(runs: Sequence[Run], folder: Path) -> list[ServingPrediction | str]:
    """Return for every row its prediction, or why there is none.

    Args:
        runs: rows of a file.
        folder: where paths in the column `config` start.
    """
    return outcomes(SERVING, runs, Context(folder))


def _measured(run: Run) -> dict[str, float]:
    return {name: run.number[name] for name, *_ in _QUANTITIES if run.number.get(name)}


def _figures(run: Run, prediction: ServingPrediction) -> list[Figure]:
    configuration = prediction.configuration
    offline = configuration.load == "max-throughput"
    parts: list[str] = []
    if prediction.slots < 1:
        parts.append("out of memory: weights leave no room for a request")
    if configuration.assumed:
        parts.append("assumed: " + ", ".join(configuration.assumed))
    found: list[Figure] = []
    for name, quantity, scale in _QUANTITIES:
        if offline and quantity != "output_tokens_per_s":
            continue
        value = float(getattr(prediction, quantity))
        limits = serving_interval(quantity, value, routed=configuration.routed)
        figure = Figure(name, value, *limits, run.number.get(name), "; ".join(parts))
        found.append(figure.scaled(scale))
    return found


SERVING: Kind[ServedRun, ServingPrediction] = Kind(
    "serving",
    "inference",
    each(lambda run, context: served_run(run, context.folder)),
    lambda configurations, _: predictions(configurations),
    _figures,
    _measured,
    "tpot_ms",
)
