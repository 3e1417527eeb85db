"""Fit what pipelines of images and video cost beside kernels, and what devices draw meanwhile.

    python benchmarks/calibration/fit_media.py ../shared/validation/media_runs.csv [--write]

Repeated without each model, each device and each source; the rows left out give the intervals.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.optimize import least_squares

from costsim.errors import CostsimError
from costsim.inference.intervals import MediaQuantity
from costsim.inference.media import MediaStack, Power, estimate_media, media_stack
from costsim.resources import data_folder
from costsim.validation.kind import Context, each
from costsim.validation.kinds.media import Made, MediaCase, _one, media_case
from costsim.validation.runs import Run, read_runs

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
QUANTITIES: tuple[MediaQuantity, ...] = ("latency_s", "samples_per_s", "energy_j_per_sample")
# Start, lower and upper bound, by whether element-wise work is compiled; then of power.
STACK: dict[str, tuple[float, float, float]] = {
    "kernel_ratio": (1.15, 1.0, 2.0),
    "passes": (60.0, 4.0, 250.0),
    "launch_s": (4e-6, 1e-7, 3e-5),
    "request_s": (0.2, 1e-2, 2.0),
    "decoder_ratio": (0.3, 0.03, 0.8),
    "issue_ratio": (0.8, 0.4, 1.0),
}
POWER: dict[str, tuple[float, float, float]] = {
    "products": (0.98, 0.7, 1.05),
    "memory": (0.7, 0.4, 1.0),
    "waiting": (0.4, 0.2, 0.7),
}
SOFT, PRIOR = 0.1, 0.3


def stacks(x: Array) -> tuple[dict[str, MediaStack], Power]:
    """Return the constants that a vector of logarithms stands for."""
    values, n = np.exp(x).tolist(), len(STACK)
    eager = MediaStack(*values[:n])
    compiled = MediaStack(*values[n : 2 * n])
    return {"eager": eager, "compiled": compiled, "tuned": media_stack("tuned")}, Power(
        *values[2 * n :]
    )


def predict(cases: Sequence[MediaCase], x: Array, mask: Mask) -> Array:
    """Return latency, samples a second and energy of the pipelines of `mask`, nan elsewhere."""
    kinds, power = stacks(x)
    found = np.full((3, len(cases)), np.nan)
    for i in np.flatnonzero(mask):
        what = cases[i].what
        assert isinstance(what, Made)
        one = estimate_media(what.job, kinds[what.job.stack], power)
        found[:, i] = one.latency_s, one.samples_per_s * what.copies, one.energy_j_per_sample
    return found


def fit(cases: Sequence[MediaCase], measured: Array, weight: Array, mask: Mask) -> Array:
    """Return the logarithms of the constants that fit the rows of `mask`."""
    bounds = [*STACK.values(), *STACK.values(), *POWER.values()]
    start, low, high = np.log(np.array(bounds)).T
    known = np.isfinite(measured) & mask

    def loss(x: Array) -> Array:
        ratio = np.where(known, np.log(predict(cases, x, mask) / measured), 0.0)
        soft = np.sqrt(2.0 * SOFT * (np.sqrt(SOFT**2 + ratio**2) - SOFT))
        return np.concatenate(
            [(np.sign(ratio) * soft * np.sqrt(weight))[known], PRIOR * (x - start)]
        )

    return least_squares(loss, start, bounds=(low, high), diff_step=3e-2, max_nfev=6).x


def shown(measured: Array, predicted: Array, mask: Mask) -> str:
    """Return the median, 90th percentile and bias of errors, by quantity."""
    parts: list[str] = []
    for q, name in enumerate(QUANTITIES):
        error = (predicted[q] / measured[q] - 1.0)[mask & np.isfinite(measured[q])]
        error = error[np.isfinite(error)]
        if len(error):
            parts.append(
                f"{name} {np.median(np.abs(error)):.1%} (90th {np.quantile(np.abs(error), 0.9):.0%}"
                f", bias {np.median(error):+.0%}, {len(error)})"
            )
    return ", ".join(parts)


def limits(measured: Array, predicted: Sequence[Array], mask: Mask) -> dict[str, dict[str, float]]:
    """Return the multipliers between which 80 % of the rows of `mask` fall, by quantity."""
    found: dict[str, dict[str, float]] = {}
    for q, name in enumerate(QUANTITIES):
        ratio = np.concatenate([(measured[q] / one[q])[mask] for one in predicted])
        ratio = ratio[np.isfinite(ratio)]
        low, high = np.quantile(ratio, (0.1, 0.9)) if len(ratio) >= 10 else (0.5, 2.0)
        found[name] = {
            "low_ratio": round(float(min(low, 0.95)), 3),
            "high_ratio": round(float(max(high, 1.05)), 3),
            "runs": len(ratio) // max(len(predicted), 1),
        }
    return found


def write(
    x: Array, diffusion: dict[str, dict[str, float]], other: dict[str, dict[str, float]]
) -> None:
    """Write constants and intervals."""
    folder = data_folder("hardware_specs") / "calibration"
    kinds, power = stacks(x)

    def flow(row: dict[str, float]) -> str:
        texts = {name: f"{value:.3g}" for name, value in row.items()}
        texts = {
            n: t if "e" not in t or "." in t else t.replace("e", ".0e") for n, t in texts.items()
        }
        return "{" + ", ".join(f"{name}: {text}" for name, text in texts.items()) + "}"

    path = folder / "media.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    for i, line in enumerate(lines):
        if line.startswith("  eager:"):
            lines[i] = f"  eager: {flow(asdict(kinds['eager']))}"
        elif line.startswith("  compiled:"):
            lines[i] = f"  compiled: {flow(asdict(kinds['compiled']))}"
        elif line.startswith("  media:"):
            lines[i] = f"  media: {flow(asdict(power))}"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = folder / "serving_intervals.yaml"
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    table["media"] = {n: {"diffusion": diffusion[n], "other": other[n]} for n in QUANTITIES}
    text = path.read_text(encoding="utf-8")
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    body = yaml.safe_dump(table, sort_keys=False, default_flow_style=None, width=120)
    path.write_text(header + body, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", type=Path)
    parser.add_argument("--write", action="store_true", help="change hardware_specs/calibration")
    parser.add_argument("--in-sample", action="store_true", help="leave nothing out")
    options = parser.parse_args()
    rows = read_runs(options.runs).runs
    read = each(media_case)(rows, Context(options.runs.parent))
    for row, case in zip(rows, read, strict=True):
        if isinstance(case, str):
            print("not predicted:", row.id, case)
    kept = [(run, case) for run, case in zip(rows, read, strict=True) if not isinstance(case, str)]
    runs: list[Run] = [run for run, _ in kept]
    cases: list[MediaCase] = [case for _, case in kept]
    measured = np.array([[run.number.get(n, np.nan) for run in runs] for n in QUANTITIES])
    made = np.array([isinstance(case.what, Made) for case in cases])
    source = np.array([run.text.get("source_id", "") for run in runs])
    # A source with many rows of one grid does not drown the others.
    share = {one: 1.0 / np.sqrt((source == one).sum()) for one in np.unique(source)}
    weight = np.array([[share[one] * 10.0 for one in source]] * 3)
    weight[1] = np.where(np.isfinite(measured[0]), 0.0, weight[1])
    x = fit(cases, measured, weight, made)
    print(*stacks(x), sep="\n")
    inside = predict(cases, x, made)
    print("in-sample:", shown(measured, inside, made), flush=True)
    for one in np.unique(source):
        print(f"  {one}:", shown(measured, inside, made & (source == one)))
    others = np.full_like(measured, np.nan)
    for i in np.flatnonzero(~made):
        try:
            found = _one(cases[i])
        except CostsimError as error:
            print("not predicted:", runs[i].id, str(error)[:100])
            continue
        values = (found.latency_s, found.samples_per_s, found.energy_j_per_sample)
        others[:, i] = [np.nan if value is None else value for value in values]
    print("others:", shown(measured, others, ~made))
    for one in np.unique(source):
        print(f"  {one}:", shown(measured, others, ~made & (source == one)))
    left = [inside]
    if not options.in_sample:
        left = []
        for key in ("model", "accelerator_id"):
            column = np.array([run.text.get(key, "") for run in runs])
            found_out = np.full_like(measured, np.nan)
            for one in np.unique(column[made]):
                out = made & (column == one)
                few = np.arange(len(cases)) % 3 == 0  # enough to fit a dozen constants
                own = fit(cases, measured, weight, made & ~out & few)
                found_out[:, out] = predict(cases, own, out)[:, out]
            print(f"without its {key}:", shown(measured, found_out, made), flush=True)
            left.append(found_out)
    if options.write:
        write(x, limits(measured, left, made), limits(measured, [others], ~made))


if __name__ == "__main__":
    sys.exit(main())
