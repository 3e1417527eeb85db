"""Fit the constants of serving engines on measured inference runs, and how far they err left out.

    python benchmarks/calibration/fit_inference.py ../shared/validation/inference_runs.csv [--write]

A few constants are common to all engines; launches and the host's time differ by engine, but only
as far as the runs insist (a penalty draws them to the common value). Offline throughput has its own
rates. The fit minimizes the mean absolute logarithm of predicted over measured, a group of
near-identical rows counting once; it is repeated without each model and without each device, whose
rows then give the honest errors and the intervals.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from costsim.inference.engines import Engine, engine_names, load_engine
from costsim.inference.intervals import Quantity
from costsim.inference.steady import Requests, closed_loop
from costsim.inference.tables import Tables
from costsim.resources import data_folder
from costsim.validation.runs import Run, read_runs
from costsim.validation.serving import ServedRun, served_run
from costsim.validation.serving_predict import Group, groups

Array = NDArray[np.float64]
OFFLINE = "tensorrt-llm-offline"
# Start, lower and upper bound: what physics allows, whatever the runs say.
COMMON: dict[str, tuple[float, float, float]] = {
    "kernel_ratio": (0.95, 0.8, 1.4),
    "host_step_s": (3e-4, 1e-5, 5e-3),
    "host_sequence_s": (2e-6, 1e-8, 5e-5),
    "launch_s": (2e-5, 2e-6, 1e-4),
    "prompt_s": (4e-3, 1e-3, 6e-3),
    "prompt_ratio": (0.95, 0.7, 1.4),
    "stage_ratio": (0.05, 1e-3, 0.3),
    "queue_ratio": (0.5, 0.1, 1.5),
    "burst_ratio": (0.1, 0.02, 0.3),
}
BY_ENGINE = ("host_step_s", "launch_s")
OFFLINE_OWN: dict[str, tuple[float, float, float]] = {
    "kernel_ratio": (1.0, 0.8, 1.4),
    "experts_ratio": (1.5, 0.8, 3.0),
    "prompt_ratio": (0.95, 0.7, 1.4),
    "host_sequence_s": (5e-6, 1e-8, 5e-5),
    "queue_ratio": (0.5, 0.1, 1.5),
}
PENALTY = 0.01  # of a squared logarithm of an engine's own value over the common one
WEIGHTS = (0.9, 1.5, 1.2)  # of TTFT, TPOT and offline throughput
QUANTITIES: tuple[tuple[str, Quantity, float], ...] = (
    ("ttft_ms", "ttft_s", 1e-3),
    ("tpot_ms", "tpot_s", 1e-3),
    ("output_tokens_per_s", "output_tokens_per_s", 1.0),
)
EVALUATIONS = 3000


@dataclass
class Data:
    """All rows in one table; `engine` and `offline` are of each, `layout_engine` of each layout."""

    runs: Sequence[Run]
    served: list[ServedRun]
    tables: Tables
    rows: NDArray[np.intp]
    users: Array
    requests: Requests
    measured: Array  # (3, rows), nan where unknown
    weight: Array
    engine: NDArray[np.intp]
    layout_engine: NDArray[np.intp]
    offline: NDArray[np.bool_]
    base: list[Engine]


def load(path: Path) -> Data:
    """Read the runs and time the passes of all their layouts."""
    runs = read_runs(path).runs
    made = groups([run.fault or served_run(run, path.parent) for run in runs])
    names = list(engine_names())
    order = np.argsort(np.concatenate([np.array(g.index) for g in made]))
    kept = np.concatenate([np.array(g.index) for g in made])[order]
    first = np.cumsum([0, *(len(g.tables.layouts) for g in made)])

    def column(of: Callable[[Group], Array]) -> Array:
        return np.concatenate([of(g) for g in made])[order]

    rows = np.concatenate([g.rows + start for g, start in zip(made, first, strict=False)])[order]
    own = [names.index(_engine(g)) for g in made]
    runs = [runs[i] for i in kept]
    sizes: dict[str, int] = {}
    for run in runs:
        sizes[run.group] = sizes.get(run.group, 0) + 1
    measured = [[run.number.get(name, np.nan) * k for run in runs] for name, _, k in QUANTITIES]
    served = [m for g in made for m in g.members]
    served = [served[i] for i in order]
    offline = np.array([m.load == "max-throughput" for m in served])
    data = Data(
        runs,
        served,
        Tables.joined([g.tables for g in made]),
        rows,
        column(lambda g: g.users),
        Requests(
            column(lambda g: np.asarray(g.requests.input_tokens)),
            column(lambda g: np.asarray(g.requests.output_tokens)),
        ),
        np.array(measured),
        np.array([1.0 / np.sqrt(sizes[run.group]) for run in runs]),
        column(lambda g: np.full(len(g.members), names.index(g.members[0].engine.name))).astype(
            int
        ),
        np.repeat(own, [len(g.tables.layouts) for g in made]),
        offline,
        [load_engine(name) for name in names],
    )
    data.measured[:2, offline] = np.nan
    return data


def _engine(group: Group) -> str:
    return group.members[0].engine.name


class Vector:
    """The constants as one vector of logarithms, and back."""

    def __init__(self, engines: list[Engine]) -> None:
        self.names = [engine.name for engine in engines]
        online = [name for name in self.names if name != OFFLINE]
        self.keys: list[tuple[str, str]] = [("common", name) for name in COMMON]
        self.keys += [(engine, name) for engine in online for name in BY_ENGINE]
        self.keys += [(OFFLINE, name) for name in OFFLINE_OWN]
        bounds = [
            COMMON[name]
            if where == "common"
            else OFFLINE_OWN[name]
            if where == OFFLINE
            else (1.0, 0.25, 4.0)
            for where, name in self.keys
        ]
        self.start, self.low, self.high = np.log(np.array(bounds)).T
        self.own = np.array([where not in ("common", OFFLINE) for where, _ in self.keys])

    def values(self, x: Array) -> dict[str, dict[str, float]]:
        """Return the constants by engine, every one of them."""
        found = {key: float(np.exp(value)) for key, value in zip(self.keys, x, strict=True)}
        common = {name: found["common", name] for name in COMMON}
        result: dict[str, dict[str, float]] = {"common": {**common, "experts_ratio": 1.0}}
        for engine in self.names:
            own = dict(result["common"])
            for (where, name), value in found.items():
                if where == engine:
                    own[name] = value if engine == OFFLINE else own[name] * value
            result[engine] = own
        return result


def predict(data: Data, values: dict[str, dict[str, float]], mask: NDArray[np.bool_]) -> Array:
    """Return TTFT, TPOT and tokens a second of the rows of `mask`, nan elsewhere."""
    at = np.flatnonzero(mask)
    table = {
        name: np.array([values[engine.name][name] for engine in data.base])
        for name in values["common"]
    }
    columns: dict[str, Any] = {name: c[data.engine[at]] for name, c in table.items()}
    burst = np.where(data.offline[at], 0.0, columns.pop("burst_ratio"))
    columns["experts_ratio"] = table["experts_ratio"][data.layout_engine]
    for name in ("max_batched_tokens", "block_tokens"):
        settings = np.array([float(getattr(engine, name)) for engine in data.base])
        columns[name] = settings[data.engine[at]]
    steady = closed_loop(
        data.tables,
        replace(data.base[0], **columns),
        data.rows[at],
        data.users[at],
        Requests(
            data.requests.input_tokens[at], data.requests.output_tokens[at], burst_ratio=burst
        ),
    )
    found = np.full((3, len(mask)), np.nan)
    found[:, at] = steady.ttft_s, steady.tpot_s, steady.output_tokens_per_s
    return found


def fit(data: Data, vector: Vector, mask: NDArray[np.bool_]) -> Array:
    """Return the constants that fit the rows of `mask`, by a (1 + 1) evolution strategy."""
    known = np.isfinite(data.measured) & mask
    weights = np.array(WEIGHTS)[:, None] * data.weight * known

    def loss(x: Array) -> float:
        ratio = np.log(predict(data, vector.values(x), mask) / data.measured)
        error = np.sqrt(0.05**2 + np.where(known, ratio, 0.0) ** 2)
        return float(
            (weights * error).sum() / (data.weight * known).sum()
            + PENALTY * (x[vector.own] ** 2).sum()
        )

    random = np.random.default_rng(0)
    x = vector.start.copy()
    best, reach = loss(x), 1.0
    for _ in range(EVALUATIONS):
        chosen = random.random(len(x)) < max(2.0 / len(x), 0.12)
        step = random.normal(size=len(x)) * 0.3 * reach * chosen
        other = np.clip(x + step, vector.low, vector.high)
        value = loss(other)
        if value < best:
            x, best, reach = other, value, min(reach * 1.15, 2.0)
        else:
            reach = max(reach * 0.985, 0.02)
    return x


def score(data: Data, predicted: Array) -> dict[str, tuple[float, float, float]]:
    """Return the median, 90th percentile and bias of errors over groups, by quantity."""
    found: dict[str, tuple[float, float, float]] = {}
    for index, (name, *_) in enumerate(QUANTITIES):
        by_group: dict[str, list[float]] = {}
        ratios = predicted[index] / data.measured[index]
        for run, ratio in zip(data.runs, ratios, strict=True):
            if np.isfinite(ratio):
                by_group.setdefault(run.group, []).append(ratio - 1.0)
        if not by_group:
            continue
        errors = [float(np.median(np.abs(r))) for r in by_group.values()]
        bias = float(np.median([np.median(r) for r in by_group.values()]))
        found[name] = (float(np.median(errors)), float(np.quantile(errors, 0.9)), bias)
    return found


def left_out(data: Data, vector: Vector, keys: list[str]) -> Array:
    """Return predictions of each row by constants fitted without the rows that share its key."""
    found = np.full((3, len(keys)), np.nan)
    for key in sorted(set(keys)):
        mask = np.array([one == key for one in keys])
        found[:, mask] = predict(data, vector.values(fit(data, vector, ~mask)), mask)[:, mask]
        print(f"  without {key}: {_shown(score(data, np.where(mask, found, np.nan)))}", flush=True)
    return found


def intervals(data: Data, predicted: list[Array]) -> dict[str, Any]:
    """Return the multipliers between which 80 % of left-out rows fall (conformal quantiles)."""
    result: dict[str, Any] = {}
    routed = np.array([served.routed for served in data.served])
    for index, (_, quantity, _) in enumerate(QUANTITIES):
        result[quantity] = {}
        for name, mask in (("dense", ~routed), ("routed", routed)):
            ratios = [data.measured[index] / p[index] for p in predicted]
            weight = np.tile(data.weight**2 * mask, len(predicted))
            flat = np.concatenate(ratios)
            kept = np.isfinite(flat) & (weight > 0)
            low, high = _quantiles(flat[kept], weight[kept], (0.1, 0.9))
            result[quantity][name] = {
                "low_ratio": round(float(low), 3),
                "high_ratio": round(float(high), 3),
                "runs": int(kept.sum() / len(predicted)),
            }
    return result


def _quantiles(values: Array, weights: Array, at: Sequence[float]) -> Array:
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    return np.interp(at, share, values[order])


def _shown(scores: dict[str, tuple[float, float, float]]) -> str:
    return ", ".join(
        f"{name} {median:.1%} (90th {p90:.0%}, bias {bias:+.0%})"
        for name, (median, p90, bias) in scores.items()
    )


def write(values: dict[str, dict[str, float]], spread: dict[str, Any]) -> None:
    """Put the fitted constants into engines.yaml and the intervals beside it."""
    folder = data_folder("hardware_specs") / "calibration"
    path = folder / "engines.yaml"
    text = path.read_text(encoding="utf-8")

    def flow(row: dict[str, float]) -> str:
        return "{" + ", ".join(f"{k}: {_number(v)}" for k, v in row.items()) + "}"

    lines: list[str] = []
    engine = ""
    for line in text.splitlines():
        if line.startswith("common:"):
            row = {k: v for k, v in values["common"].items() if k != "burst_ratio"}
            line = f"common: {flow(row)}"
        elif line.startswith("benchmark:"):
            line = f"benchmark: {flow({'burst_ratio': values['common']['burst_ratio']})}"
        elif line.startswith("  ") and line.endswith(":") and not line.startswith("    "):
            engine = line.strip(" :")
        elif line.startswith("    fitted:"):
            names = OFFLINE_OWN if engine == OFFLINE else BY_ENGINE
            line = f"    fitted: {flow({name: values[engine][name] for name in names})}"
        lines.append(line)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    header = (
        "# How far measurements of serving lie from estimates: the multipliers of an estimate\n"
        "# between which 80 % of the runs fall that were left out of the fit, by model and by\n"
        "# device. Written by benchmarks/calibration/fit_inference.py.\n"
    )
    body = yaml.safe_dump(spread, sort_keys=False, default_flow_style=None, width=120)
    (folder / "serving_intervals.yaml").write_text(header + body, encoding="utf-8")


def _number(value: float) -> str:
    text = f"{value:.3g}"
    return text if "e" not in text or "." in text else text.replace("e", ".0e")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", type=Path)
    parser.add_argument("--write", action="store_true", help="change hardware_specs/calibration")
    parser.add_argument("--in-sample", action="store_true", help="leave nothing out")
    options = parser.parse_args()
    data = load(options.runs)
    vector = Vector(data.base)
    everything = np.ones(len(data.runs), dtype=bool)
    values = vector.values(fit(data, vector, everything))
    for name, row in values.items():
        print(name, {key: float(f"{value:.3g}") for key, value in row.items()})
    print("in-sample:", _shown(score(data, predict(data, values, everything))), flush=True)
    if options.in_sample:
        return
    found: list[Array] = []
    for title, keys in (
        ("model", [served.model.name for served in data.served]),
        ("device", [served.system.accelerator.id for served in data.served]),
    ):
        found.append(left_out(data, vector, keys))
        print(f"without its {title}:", _shown(score(data, found[-1])), flush=True)
    spread = intervals(data, found)
    print(spread)
    if options.write:
        write(values, spread)


if __name__ == "__main__":
    sys.exit(main())
