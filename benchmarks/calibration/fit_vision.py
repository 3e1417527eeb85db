"""Fit how devices run image models known by their totals, and how far such estimates err.

    python benchmarks/calibration/fit_vision.py VISION_THROUGHPUT.csv [--write]

Writes the parts `totals`, `typical` and `intervals` of hardware_specs/calibration/vision.yaml.
Residuals are of the logarithm of time, soft-L1. Beside the error of the fit stands that of models
whose whole family (the first word of the name) it did not see; intervals are quantiles of those.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.optimize import least_squares

from costsim.resources import data_folder
from costsim.validation.kinds.totals import measured_samples_per_s
from costsim.validation.runs import Run, read_runs
from costsim.validation.totals import Rates, Typical, step_time_s
from costsim.validation.vision import (
    VisionRun,
    totals_of,
    typical_counts,
    vision_runs,
)

FOLDS = 8
COVERED = 0.8
SOFT = 0.1  # residual beyond which a row pulls linearly
# SGD with momentum: gradient written and read, momentum and weight read and written.
UPDATE_PASSES = 6.0
BACKWARD = 3.0  # kernels launched in training over those of a forward pass
FILE = "vision.yaml"

# Start and upper bound of what is fitted, all rows together.
CONSTANTS = {
    "accelerator.compute_ratio": (0.9, 1.0),
    "accelerator.infer.step_s": (3e-3, 1.0),
    "accelerator.train.step_s": (5e-2, 1.0),
    "processor.compute_ratio": (0.9, 1.0),
    "processor.infer.step_s": (4e-3, 1.0),
    "infer.activation_passes": (9.0, 99.0),
    "train.activation_passes": (30.0, 99.0),
    "infer.channels_last_ratio": (0.85, 2.0),
    "train.channels_last_ratio": (0.75, 2.0),
    "weight_passes": (5.0, 99.0),
    # Of compiled code over eager: passes over activations, what a step takes beside.
    "compiled.passes": (0.6, 1.0),
    "compiled.step": (0.3, 1.0),
}


@dataclass(frozen=True)
class Part:
    """Rows of one kind of device and mode, and what they measured."""

    rows: list[VisionRun]
    measured_s: np.ndarray
    families: np.ndarray
    images: np.ndarray

    @classmethod
    def of(cls, members: list[tuple[Run, VisionRun]]) -> Part:
        rates = np.array([measured_samples_per_s(run) for run, _ in members], dtype=float)
        batch = np.array([row.batch for _, row in members])
        families = [re.split(r"[^a-z]", run.text["model"].lower())[0] for run, _ in members]
        images = np.array([run.number["img_size"] for run, _ in members])
        return cls([row for _, row in members], batch / rates, np.array(families), images)

    def take(self, some: np.ndarray) -> Part:
        rows = [row for row, taken in zip(self.rows, some, strict=True) if taken]
        return Part(rows, self.measured_s[some], self.families[some], self.images[some])

    def predicted_s(self, rates: Rates) -> np.ndarray:
        first = self.rows[0]
        return step_time_s(first.accelerator, first.dtype, first.mode, totals_of(self.rows), rates)


Parts = dict[str, Part]  # by regime and device: "accelerator_infer@nvidia-rtx-3090"
KINDS = ("accelerator", "accelerator_compiled", "processor")


def regime(part: str) -> str:
    """Return the regime of a part."""
    return part.partition("@")[0]


def rates_of(values: np.ndarray) -> dict[str, Rates]:
    """Return the rates of each regime from the values of `CONSTANTS`."""
    found = dict(zip(CONSTANTS, (float(value) for value in values), strict=True))
    rates: dict[str, Rates] = {}
    for mode, updates in (("infer", 0.0), ("train", UPDATE_PASSES)):
        for kind in ("accelerator", "processor"):
            step_s = found.get(f"{kind}.{mode}.step_s")
            rates[f"{kind}_{mode}"] = Rates(
                compute_ratio=found[f"{kind}.compute_ratio"],
                activation_passes=found[f"{mode}.activation_passes"],
                weight_passes=found["weight_passes"] + updates,
                # Layouts were measured on accelerators only.
                channels_last_ratio=found[f"{mode}.channels_last_ratio"]
                if kind == "accelerator"
                else 1.0,
                step_s=step_s if step_s is not None else BACKWARD * rates[f"{kind}_infer"].step_s,
            )
        eager = rates[f"accelerator_{mode}"]
        rates[f"accelerator_compiled_{mode}"] = replace(
            eager,
            activation_passes=eager.activation_passes * found["compiled.passes"],
            step_s=eager.step_s * found["compiled.step"],
        )
    return rates


def fit(parts: Parts) -> dict[str, Rates]:
    """Fit all constants on all rows."""

    def residuals(logarithms: np.ndarray) -> np.ndarray:
        rates = rates_of(np.exp(logarithms))
        return np.concatenate(
            [
                np.log(part.predicted_s(rates[regime(name)]) / part.measured_s)
                for name, part in parts.items()
            ]
        )

    start, most = np.array(list(CONSTANTS.values())).T
    bounds = (np.full(len(start), -np.inf), np.log(most))
    found = least_squares(residuals, np.log(start), bounds=bounds, loss="soft_l1", f_scale=SOFT)
    return rates_of(np.exp(found.x))


def left_out(parts: Parts) -> dict[str, np.ndarray]:
    """Return predicted over measured of rows, each by rates fitted without its family."""
    families = sorted({name for part in parts.values() for name in part.families})
    fold_of = {name: index % FOLDS for index, name in enumerate(families)}
    ratios = {name: np.empty(len(part.rows)) for name, part in parts.items()}
    for fold in range(FOLDS):
        out = {
            name: np.array([fold_of[family] == fold for family in part.families])
            for name, part in parts.items()
        }
        rates = fit({name: part.take(~out[name]) for name, part in parts.items()})
        for name, part in parts.items():
            held = part.take(out[name])
            ratios[name][out[name]] = held.predicted_s(rates[regime(name)]) / held.measured_s
    return ratios


def devices_left_out(parts: Parts) -> dict[str, np.ndarray]:
    """Return predicted over measured of rows, each by rates fitted without its device.

    Where no other device was measured in a regime, nothing tells of it.
    """
    found: dict[str, np.ndarray] = {}
    for name, part in parts.items():
        others = {n: p for n, p in parts.items() if n.partition("@")[2] != name.partition("@")[2]}
        if regime(name) in {regime(n) for n in others}:
            found[name] = part.predicted_s(fit(others)[regime(name)]) / part.measured_s
    return found


def typical_of(parts: Parts) -> Typical:
    """Return medians of ratios of totals over all models."""
    counts = {
        (row.counts, image)
        for part in parts.values()
        for row, image in zip(part.rows, part.images, strict=True)
    }
    weight_pixels = [c.macs / (c.parameters * image**2) for c, image in counts]
    return Typical(
        macs_per_weight_pixel=digits(np.median(weight_pixels)),
        macs_per_activation=digits(np.median([c.macs / c.activations for c, _ in counts])),
    )


def guessed_ratios(parts: Parts, rates: dict[str, Rates], typical: Typical) -> np.ndarray:
    """Return predicted over measured where only parameters and image are taken as known."""
    found: list[np.ndarray] = []
    for name, part in parts.items():
        rows = [
            replace(row, counts=typical_counts(row.counts.parameters, image, typical))
            for row, image in zip(part.rows, part.images, strict=True)
        ]
        guessed = replace(part, rows=rows)
        found.append(guessed.predicted_s(rates[regime(name)]) / part.measured_s)
    return np.concatenate(found)


def limits(ratios: np.ndarray) -> dict[str, float]:
    """Return multipliers of an estimated time between which measurements fall."""
    tail = (1 - COVERED) / 2
    low, high = np.quantile(1 / ratios, [tail, 1 - tail])
    return {"low_ratio": digits(low), "high_ratio": digits(high), "rows": len(ratios)}


def digits(value: float) -> float:
    return float(f"{value:.4g}")


def parts_of(runs: tuple[Run, ...]) -> Parts:
    """Return the measured rows whose totals are stated."""
    members: dict[str, list[tuple[Run, VisionRun]]] = {}
    for run, row in zip(runs, vision_runs(runs), strict=True):
        if isinstance(row, VisionRun) and not row.counts.assumed and measured_samples_per_s(run):
            members.setdefault(f"{row.regime}@{row.accelerator.id}", []).append((run, row))
    return {name: Part.of(rows) for name, rows in members.items()}


def errors(ratios: np.ndarray) -> tuple[float, float, float]:
    """Return median and 90th percentile of the error, and the bias."""
    beyond = np.abs(ratios - 1)
    return (
        digits(np.median(beyond)),
        digits(np.quantile(beyond, 0.9)),
        digits(np.median(ratios) - 1),
    )


def write(parts_of_file: dict[str, Any]) -> None:
    """Replace parts of the calibration file, and keep its others and its comments' header."""
    path = data_folder("hardware_specs") / "calibration" / FILE
    text = path.read_text(encoding="utf-8")
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    whole = yaml.safe_load(text) | parts_of_file
    body = yaml.safe_dump(whole, sort_keys=False, width=1000, default_flow_style=None)
    path.write_text(header + body, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    parts = parts_of(read_runs(options.runs).runs)
    rates = fit(parts)
    outside = left_out(parts)
    typical = typical_of(parts)
    guessed = guessed_ratios(parts, rates, typical)
    devices = devices_left_out(parts)
    accuracy: dict[str, Any] = {}
    keys = ("median", "p90", "bias")
    for name, part in parts.items():
        inside = errors(part.predicted_s(rates[regime(name)]) / part.measured_s)
        accuracy[name] = {
            "rows": len(part.rows),
            "in_sample": dict(zip(keys, inside, strict=True)),
            "family_left_out": dict(zip(keys, errors(outside[name]), strict=True)),
        }
        if name in devices:
            left = dict(zip(keys, errors(devices[name]), strict=True))
            accuracy[name]["device_left_out"] = left
        print(name, accuracy[name])
    print("typical", errors(guessed))
    # By regime of all devices; where a device was left out, as far as it is then off too.
    spread: dict[str, list[np.ndarray]] = {}
    for name, ratios in outside.items():
        spread.setdefault(regime(name), []).extend([ratios, devices.get(name, ratios)])
    intervals = {name: limits(np.concatenate(ratios)) for name, ratios in spread.items()}
    for name in ("accelerator_compiled_train",):  # not measured: as eager training
        intervals.setdefault(name, intervals["accelerator_train"] | {"rows": 0})
    # Training on a processor was not measured: as wide as the widest that was.
    intervals["processor_train"] = {
        "low_ratio": min(row["low_ratio"] for row in intervals.values()),
        "high_ratio": max(row["high_ratio"] for row in intervals.values()),
        "rows": 0,
    }
    intervals["typical"] = limits(guessed)
    found: dict[str, Any] = {
        "totals": {
            kind: {
                mode: {key: digits(v) for key, v in asdict(rates[f"{kind}_{mode}"]).items()}
                for mode in ("infer", "train")
            }
            for kind in KINDS
        },
        "typical": asdict(typical),
        "intervals": intervals,
        "accuracy": accuracy,
    }
    print(yaml.safe_dump(found, sort_keys=False, width=1000, default_flow_style=None))
    if options.write:
        write(found)


if __name__ == "__main__":
    main()
