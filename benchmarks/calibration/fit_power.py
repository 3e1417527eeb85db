"""Fit power of devices that serve to metered steady states, and say how near it comes.

    python benchmarks/calibration/fit_power.py inference_runs.csv

prints the constants of `costsim.costs.serving_power` and the section of docs/accuracy.md: errors
with the constants fitted on all rows, then with the rows of each model left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from costsim.validation.kinds.serving import ServingPrediction, predict_serving, utilization
from costsim.validation.runs import read_runs

BASES = np.arange(0.40, 0.90, 0.01)
SLOPES = np.arange(0.0, 3.0, 0.05)


@dataclass(frozen=True)
class State:
    """A metered steady state: its model, utilization, and power over the rated one."""

    model: str
    utilization: float
    power_ratio: float


def states(path: Path) -> list[State]:
    """Return the steady states of a file whose devices run at their rated power."""
    rows = [
        run
        for run in read_runs(path).runs
        if run.number.get("power_w_per_device") and "power limit" not in run.text.get("notes", "")
    ]
    found: list[State] = []
    for run, predicted in zip(rows, predict_serving(rows, path.parent), strict=True):
        if isinstance(predicted, ServingPrediction):
            case = predicted.configuration.case
            ratio = run.number["power_w_per_device"] / case.system.accelerator.tdp_w
            found.append(State(case.model.name, utilization(predicted), ratio))
    return found


def errors(found: Iterable[State], base: float, slope: float) -> np.ndarray:
    """Return estimated over measured power, less one."""
    return np.array(
        [min(base + slope * s.utilization, 1.0) / s.power_ratio - 1 for s in found], float
    )


def fit(found: list[State]) -> tuple[float, float]:
    """Return base and slope of the least median error, outliers counted for a third."""

    def loss(base: float, slope: float) -> float:
        off = np.abs(errors(found, base, slope))
        return float(np.median(off) + 0.3 * off.mean())

    return min(((b, s) for b in BASES for s in SLOPES), key=lambda pair: loss(*pair))


def section(path: Path) -> list[str]:
    """Return the section of docs/accuracy.md."""
    found = states(path)
    everything = errors(found, *fit(found))
    lines = [
        f"## Power of devices that serve ({len(found)} steady states)\n",
        "Of the devices alone, as they meter themselves (H100 and B200 under vLLM); with constants "
        "fitted on all rows, then without the rows of the model. Models whose devices wait for "
        "each other (Llama 4, experts on four and eight devices) draw less than estimated.\n",
        "| model | states | median | bias | median | bias |",
        "|---|---|---|---|---|---|",
    ]
    left: list[float] = []
    for model in sorted({one.model for one in found}):
        mine = [one for one in found if one.model == model]
        within = errors(mine, *fit(found))
        without = errors(mine, *fit([one for one in found if one.model != model]))
        left += list(without)
        lines.append(f"| {model} | {len(mine)} | {_said(within)} | {_said(without)} |")
    lines.append(f"| **all** | {len(found)} | {_said(everything)} | {_said(np.array(left))} |")
    return [*lines, ""]


def _said(off: np.ndarray) -> str:
    return f"{np.median(np.abs(off)):.1%} | {np.median(off):+.1%}"


if __name__ == "__main__":
    table = Path(sys.argv[1])
    known = states(table)
    best = fit(known)
    print(f"base {best[0]:.2f}, slope {best[1]:.2f}")
    over = 1 / (1 + errors(known, *best))
    print(f"measured over estimated, P10 and P90: {np.quantile(over, [0.1, 0.9]).round(2)}")
    print("\n".join(section(table)))
