"""Fit what training of image models, encoders and diffusion loses against its kernels.

    python benchmarks/calibration/fit_replicated.py TRAINING_RUNS.csv [--write]

Writes the parts `software`, `pipelines` and `training_intervals` of
hardware_specs/calibration/vision.yaml. Each constant has a prior, so that one which no run
determines stays there. Leave-one-source-out refits everything without a source before predicting
it; intervals are quantiles of what is left out.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fit_vision import digits, errors, limits, write
from scipy.optimize import least_squares

from costsim.training.profile import profile
from costsim.training.samples import (
    InputPipeline,
    pipelines,
    profiles,
    vision_calibration,
    waiting_s,
    with_waiting,
)
from costsim.training.software import Software
from costsim.training.stages import stages
from costsim.training.strategy import Strategies
from costsim.training.timing import step_times
from costsim.training.traffic import data_parallel
from costsim.validation.frameworks import framework_named
from costsim.validation.kinds.copies import measured_samples_per_s
from costsim.validation.kinds.language import measured_step_time_s, predict
from costsim.validation.named import FAMILIES
from costsim.validation.replicated import (
    Copies,
    copies_of,
)
from costsim.validation.runs import Run, read_runs

SOFT = 0.1
FIGURES = ("median", "p90", "bias")
NOISE = 0.1  # residual of a run that weighs as much as a prior one spread off

# Kernels in a step are no faster than timed alone at boost clocks: at most the inverse of what
# losses.yaml says that classes of accelerators sustain.
FASTEST = {"product_ratio": 1 / 0.86, "attention": 1 / 0.76}

# Profile and field: prior and how far it may stray, in logarithm.
CONSTANTS: dict[tuple[str, str], tuple[float, float]] = {
    ("tuned", "product_ratio"): (1.0, 0.1),
    ("tuned", "passes_ratio"): (1.0, 0.3),
    ("tuned", "attention"): (1.0, 0.3),
    ("tuned", "launch_s"): (5e-6, 0.7),
    ("tuned", "step_s"): (2e-3, 0.7),
    ("eager", "product_ratio"): (1.0, 0.1),
    ("eager", "passes_ratio"): (1.2, 0.3),
    ("eager", "attention"): (1.0, 0.3),
    ("eager", "launch_s"): (1.0e-5, 0.5),
    ("eager", "step_s"): (2e-3, 0.7),
    # An image of 110 kB decoded, cut and turned in half a millisecond of one GPU's process.
    ("eager", "device_sample_s"): (4e-4, 0.7),
    ("eager", "node_sample_s"): (6e-5, 0.7),
}


@dataclass
class Item:
    """Runs alike, with all that does not depend on the constants."""

    copies: Copies
    rest: tuple[Any, ...]
    strategies: Strategies
    runs: list[Run]
    measured_s: list[float]


def prepare(runs: list[Run]) -> list[Item]:
    """Return items of image models, encoders and diffusion, and of plain language models."""
    items: dict[Any, Item] = {}
    for run, copies, step_s in [*_replicated(runs), *_plain(runs)]:
        key = (copies.job, copies.strategy, copies.samples)
        if key not in items:
            job, strategies = copies.job, Strategies.of([copies.strategy])
            profiled, _ = profile(job, strategies)
            held = stages(job.model, strategies.pp, strategies.vp, strategies.copies)
            micro_batches = job.global_batch / (strategies.dp * strategies.micro_batch)
            data = data_parallel(job, strategies, held, profiled, micro_batches)
            rest = (held, profiled, data, micro_batches, 0.0)
            items[key] = Item(copies, rest, strategies, [], [])
        items[key].runs.append(run)
        items[key].measured_s.append(step_s)
    return list(items.values())


def _replicated(runs: list[Run]) -> Iterator[tuple[Run, Copies, float]]:
    for run in runs:
        if run.text.get("family") not in FAMILIES:
            continue
        copies = run.fault or copies_of(run)
        rate = measured_samples_per_s(run)
        if not isinstance(copies, str) and rate:
            yield run, copies, copies.batch / rate


def _plain(runs: list[Run]) -> Iterator[tuple[Run, Copies, float]]:
    """Yield language models of plain PyTorch, which no other script fits."""
    mine = [r for r in runs if r.text.get("family") == "llm-dense"]
    mine = [r for r in mine if framework_named(r.text.get("framework", "")).plain]
    for run, prediction in zip(mine, predict(mine), strict=True):
        if isinstance(prediction, str):
            continue
        job, step_s = prediction.configuration.job, measured_step_time_s(run, prediction)
        if step_s:
            batch = float(job.global_batch)
            yield (
                run,
                Copies(job, prediction.strategy, "eager", batch, True, (0.0, 0.0), ()),
                step_s,
            )


def software_of(name: str, values: dict[tuple[str, str], float]) -> Software:
    mine = {field: value for (owner, field), value in values.items() if owner == name}
    plain = {k: v for k, v in mine.items() if k not in ("attention", *InputPipeline.__slots__)}
    return replace(profiles()[name], attention_rates={"all": mine["attention"]}, **plain)


def pipeline_of(name: str, values: dict[tuple[str, str], float]) -> InputPipeline:
    mine = {
        f: v for (owner, f), v in values.items() if owner == name and f in InputPipeline.__slots__
    }
    return replace(pipelines()[name], **mine)


def predicted(
    items: list[Item], x: np.ndarray, only: Callable[[Run], bool] = lambda run: True
) -> list[tuple[Run, float]]:
    """Return each run with predicted over measured seconds."""
    values = {key: exp(v) for key, v in zip(CONSTANTS, x, strict=True)}
    software = {name: software_of(name, values) for name in ("tuned", "eager")}
    found: list[tuple[Run, float]] = []
    for item in items:
        if not any(only(run) for run in item.runs):
            continue
        copies = item.copies
        job = replace(copies.job, software=software[copies.profile])
        parts = step_times(job, item.strategies, *item.rest)
        device_s = float(np.sum([part[0] for part in parts.values()]))
        waiting = waiting_s(pipeline_of(copies.profile, values), *copies.samples)
        step_s = float(with_waiting(device_s, waiting))
        found.extend(
            (run, step_s / measured)
            for run, measured in zip(item.runs, item.measured_s, strict=True)
            if only(run)
        )
    return found


def source(run: Run) -> str:
    return run.text.get("source_id", "")


def fit(items: list[Item], only: Callable[[Run], bool] = lambda run: True) -> np.ndarray:
    starts = np.array([log(prior) for prior, _ in CONSTANTS.values()])
    spreads = np.array([spread for _, spread in CONSTANTS.values()])
    sizes: dict[str, int] = defaultdict(int)
    for run, _ in predicted(items, starts, only):
        sizes[run.group] += 1

    def residuals(x: np.ndarray) -> np.ndarray:
        ratios = predicted(items, x, only)
        errors = np.log([ratio for _, ratio in ratios])
        # A group is one witness, however many runs repeat it.
        weights = np.array([sizes[run.group] ** -0.5 for run, _ in ratios])
        soft = np.sign(errors) * SOFT * np.sqrt(2 * (np.sqrt(1 + (errors / SOFT) ** 2) - 1))
        return np.concatenate([soft * weights / NOISE, (x - starts) / spreads])

    most = [log(FASTEST.get(field, np.inf)) for _, field in CONSTANTS]
    bounds = (np.full(len(starts), -np.inf), np.array(most))
    return least_squares(residuals, starts, bounds=bounds, diff_step=1e-3, max_nfev=12).x


def by_group(ratios: list[tuple[Run, float]], which: Callable[[Run], bool]) -> np.ndarray:
    groups: dict[str, list[float]] = defaultdict(list)
    for run, ratio in ratios:
        if which(run):
            groups[run.group].append(ratio)
    return np.array([np.median(values) for values in groups.values()])


def describe(name: str, ratios: np.ndarray) -> str:
    errors = np.abs(ratios - 1)
    return (
        f"{name}: groups {len(ratios)}, median {np.median(errors):.3f}, "
        f"p90 {np.quantile(errors, 0.9):.3f}, bias {np.median(ratios) - 1:+.3f}"
    )


def slices(ratios: list[tuple[Run, float]]) -> list[tuple[str, Callable[[Run], bool]]]:
    """Return what accuracy is told of: everything, each family, each source."""
    found: list[tuple[str, Callable[[Run], bool]]] = [("all", any_run)]
    for key in ("family", "source_id"):
        for name in sorted({run.text.get(key, "") for run, _ in ratios}):
            found.append((name, lambda run, k=key, n=name: run.text.get(k, "") == n))
    return found


def any_run(run: Run) -> bool:
    return bool(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    items = prepare(list(read_runs(options.runs).runs))
    x = fit(items)
    inside = predicted(items, x)
    outside: list[tuple[Run, float]] = []
    for name in sorted({source(run) for item in items for run in item.runs}):
        without = fit(items, lambda run, name=name: source(run) != name)
        left = predicted(items, without, lambda run, name=name: source(run) == name)
        outside.extend(left)
        print(describe(f"{name} in sample", by_group(inside, lambda r, n=name: source(r) == n)))
        print(describe(f"{name} left out", by_group(left, any_run)))
    for key in ("family", "model", "accelerator_id"):
        for name in sorted({run.text.get(key, "") for run, _ in inside}):
            print(describe(name, by_group(inside, lambda r, k=key, n=name: r.text.get(k, "") == n)))
    print(describe("all in sample", by_group(inside, any_run)))
    print(describe("all left out", by_group(outside, any_run)))
    values = {key: digits(exp(v)) for key, v in zip(CONSTANTS, x, strict=True)}
    print(yaml.safe_dump({f"{owner}.{field}": v for (owner, field), v in values.items()}))
    if options.write:
        kinds = {run.id: item.copies.profile for item in items for run in item.runs}
        held: dict[str, Any] = vision_calibration()["software"]
        for name, fields in held.items():
            mine = software_of(name, values)
            changed = [f for o, f in CONSTANTS if o == name and hasattr(mine, f)]
            fields |= {f: getattr(mine, f) for f in changed}
            fields["attention_rates"] = dict(mine.attention_rates)
        intervals = {
            name: limits(by_group(outside, lambda r, n=name: kinds[r.id] == n))
            for name in ("tuned", "eager")
        }
        # Language models are told of with the others of theirs, by accuracy.py.
        told, left = (
            [r for r in rows if r[0].text["family"] in FAMILIES] for rows in (inside, outside)
        )
        accuracy = {
            name: {
                "groups": len(by_group(told, which)),
                "in_sample": dict(zip(FIGURES, errors(by_group(told, which)), strict=True)),
                "source_left_out": dict(zip(FIGURES, errors(by_group(left, which)), strict=True)),
            }
            for name, which in slices(told)
        }
        write(
            {
                "training_accuracy": accuracy,
                "software": held,
                "pipelines": {
                    name: {
                        f: getattr(pipeline_of(name, values), f) for f in InputPipeline.__slots__
                    }
                    for name in held
                },
                "training_intervals": intervals,
            }
        )


if __name__ == "__main__":
    main()
