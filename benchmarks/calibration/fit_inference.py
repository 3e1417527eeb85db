"""Fit the constants of serving engines on measured inference runs, and how far they err left out.

    python benchmarks/calibration/fit_inference.py ../shared/validation/inference_runs.csv [--write]

A few constants are common to all engines; the others belong to a profile (an engine of some years'
releases), but only as far as its runs insist: a penalty draws them to the common value. The fit
minimizes a smooth mean of absolute logarithms of predicted over measured, a group of near-identical
rows counting once. It is repeated without each model, each device and each source; the rows left
out give the honest errors and the intervals.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.optimize import least_squares

from costsim.inference.engines import profile_names
from costsim.inference.intervals import serving_kind
from costsim.inference.outcomes import (
    Group,
    engine_columns,
    groups,
    outcomes,
    requests_of,
    steady_of,
)
from costsim.inference.steady import Steady, open_loop, static_batch
from costsim.inference.tables import Tables
from costsim.resources import data_folder, packaged_yaml
from costsim.validation.kind import Context, each
from costsim.validation.runs import Run, read_runs
from costsim.validation.serving import ServedRun, served_run

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]
# Start, lower and upper bound: what physics allows, whatever the runs say.
COMMON: dict[str, tuple[float, float, float]] = {
    "stage_ratio": (0.05, 1e-3, 0.3),
    "queue_ratio": (0.7, 0.1, 2.0),
    "lockstep_ratio": (0.8, 0.05, 1.0),
    "shared_ratio": (0.6, 0.02, 2.0),
    "cluster_ratio": (0.3, 0.01, 1.0),
    "residual_ratio": (0.7, 0.05, 1.5),
    "busy_launch_ratio": (0.5, 0.02, 1.0),
    "burst_ratio": (0.1, 0.02, 0.3),
}
PROFILE: dict[str, tuple[float, float, float]] = {
    "kernel_ratio": (0.95, 0.6, 2.5),
    "prompt_ratio": (0.95, 0.6, 4.0),
    "experts_ratio": (1.2, 0.8, 2.5),
    "host_step_s": (8e-4, 1e-5, 3e-2),
    "host_sequence_s": (2e-6, 1e-8, 3e-4),
    "launch_s": (2e-5, 1e-6, 1e-4),
    "prompt_s": (6e-3, 5e-4, 3e-2),
}
# Weight of a logarithm of a profile's own value over the common one: ratios differ by parts,
# what the host does by whole factors.
PRIOR = {name: 0.3 if name.endswith("ratio") else 0.08 for name in PROFILE}
WIDENED = 1.2  # logarithm of errors of rows left out over that of rows that were fitted
FEWEST = 12  # groups of a kind that has an interval of its own
SOFT = 0.1  # below this logarithm errors count by their square
WEIGHTS = (0.9, 1.5, 1.2)  # of TTFT, TPOT and tokens a second
QUANTITIES: tuple[tuple[tuple[str, ...], str, float], ...] = (
    (("ttft_ms", "ttft_p50_ms"), "ttft_s", 1e-3),
    (("tpot_ms", "tpot_p50_ms"), "tpot_s", 1e-3),
    (("output_tokens_per_s",), "output_tokens_per_s", 1.0),
)


@dataclass
class Data:
    """All rows in one table; measured is (3, rows), nan where unknown."""

    runs: list[Run]
    served: list[ServedRun]
    group: Group
    measured: Array
    weight: Array
    profile: NDArray[np.str_]
    keys: dict[str, NDArray[np.str_]]
    whole: Mask  # rows that a closed form gives whole; others are simulated

    def blocks(self, mask: Mask) -> list[Rows]:
        """Return the rows of `mask` in blocks that one call evaluates."""
        found: dict[object, list[int]] = defaultdict(list)
        for index in np.flatnonzero(mask):
            case = self.group.cases[index]
            apart = id(case.model) if case.pools is not None else None
            found[case.load.kind, apart, case.engine.speculation].append(int(index))
        return [np.array(rows) for rows in found.values()]


def load(path: Path) -> Data:
    """Read the runs and time the passes of all their layouts."""
    runs = read_runs(path).runs
    rows = each(lambda run, context: served_run(run, context.folder))(runs, Context(path.parent))
    kept = [i for i, row in enumerate(rows) if isinstance(row, ServedRun)]
    served = [row for row in rows if isinstance(row, ServedRun)]
    runs = [runs[i] for i in kept]
    cases = [one.case for one in served]
    made = groups(cases)
    first = np.cumsum([0, *(len(g.tables.layouts) for _, g in made)])
    place, prompts, slots = (np.zeros(len(cases)) for _ in range(3))
    for (indices, group), start in zip(made, first, strict=False):
        place[indices], prompts[indices] = group.rows + start, group.prompts + start
        slots[indices] = group.slots
    joined = Group(
        cases,
        Tables.joined([g.tables for _, g in made]),
        place.astype(np.intp),
        prompts.astype(np.intp),
        slots,
    )
    sizes: dict[str, int] = defaultdict(int)
    for run in runs:
        sizes[run.group] += 1
    measured = np.full((3, len(runs)), np.nan)
    for q, (names, _, scale) in enumerate(QUANTITIES):
        for i, run in enumerate(runs):
            value = next((run.number[name] for name in names if name in run.number), np.nan)
            measured[q, i] = value * scale
    offline = np.array([case.load.kind == "max-throughput" for case in cases])
    measured[:2, offline] = np.nan
    measured[measured <= 0] = np.nan
    simulated = np.array([c.load.kind in ("burst", "open-loop") and not c.pools for c in cases])
    keys = {
        "model": [one.model.name for one in served],
        "device": [one.system.accelerator.id for one in served],
        "source": [run.text.get("source_id", "") for run in runs],
    }
    return Data(
        list(runs),
        served,
        joined,
        measured,
        np.array([1.0 / sizes[run.group] for run in runs]),
        np.array([case.engine.profile for case in cases]),
        {name: np.array(column) for name, column in keys.items()},
        ~simulated,
    )


Values = dict[str, dict[str, float]]  # by profile and "common", every constant


def predict(data: Data, values: Values, mask: Mask) -> Array:
    """Return TTFT, TPOT and tokens a second of the rows of `mask`, nan elsewhere.

    Bursts and open loops are taken as static batches and steady rates, which is near enough to fit.
    """
    found = np.full((3, len(mask)), np.nan)
    for at in data.blocks(mask):
        engine = engine_columns([data.group.cases[i].engine for i in at])
        columns: dict[str, Any] = {
            name: np.array([values[data.profile[i]][name] for i in at])
            for name in (*COMMON, *PROFILE)
            if name != "burst_ratio"
        }
        engine = replace(engine, **columns)
        burst = values["common"]["burst_ratio"]
        cases = [data.group.cases[i] for i in at]
        replicas = np.array([1.0 if c.pools else float(c.replicas) for c in cases])
        kind = cases[0].load.kind
        steady: Steady
        if kind in ("burst", "open-loop") and not cases[0].pools:
            loads = [case.load for case in cases]
            requests, rows = requests_of(loads), data.group.rows[at]
            slots = np.maximum(data.group.slots[at], 1.0)
            if kind == "burst":
                users = np.array([float(one.prompts or 1.0) for one in loads]) / replicas
                held = np.minimum(users, slots)
                steady = static_batch(data.group.tables, engine, rows, held, requests)
            else:
                rate = np.array([float(one.rate_per_s or 1.0) for one in loads]) / replicas
                steady = open_loop(data.group.tables, engine, rows, rate, slots, requests)
        else:
            steady = steady_of(data.group, at, engine, burst)
        first_s = steady.ttft_s
        if kind == "closed-loop" and not cases[0].pools:
            users = np.array([float(c.load.users or 1.0) for c in cases]) / replicas
            beyond = np.maximum(users - np.maximum(data.group.slots[at], 1.0), 0.0)
            first_s = first_s + beyond / steady.requests_per_s
        found[:, at] = first_s, steady.tpot_s, steady.output_tokens_per_s * replicas
    return found


def residuals(data: Data, predicted: Array, mask: Mask) -> Array:
    """Return weighted residuals whose sum of squares is a smooth mean of absolute logarithms."""
    known = np.isfinite(data.measured) & mask
    kind = np.array([case.load.kind for case in data.group.cases])
    known[0] &= ~np.isin(kind, ("burst", "open-loop"))
    known[1] &= kind != "burst"
    known[2] &= kind != "open-loop"
    known[:, (kind == "burst") & (data.group.slots < 1)] = False
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(predicted / data.measured)
    ratio = np.where(known & np.isfinite(ratio), ratio, 0.0)
    soft = np.sqrt(2.0 * SOFT * (np.sqrt(SOFT**2 + ratio**2) - SOFT))
    weights = np.sqrt(np.array(WEIGHTS)[:, None] * data.weight)
    return (np.sign(ratio) * soft * weights)[known]


def initial() -> Values:
    """Return the constants from which the fit starts."""
    common = {name: start for name, (start, _, _) in {**COMMON, **PROFILE}.items()}
    return {name: dict(common) for name in ("common", *profile_names())}


def current() -> Values:
    """Return the constants as they are written."""
    table = packaged_yaml("hardware_specs", "calibration/engines.yaml")
    common = {**table["common"], **table["benchmark"]}
    return {
        "common": common,
        **{p: {**common, **table["profiles"].get(p, {})} for p in profile_names()},
    }


def fit_common(data: Data, values: Values, mask: Mask) -> Values:
    """Return `values` with the constants that all profiles share fitted."""
    low, high = (np.log([COMMON[name][k] for name in COMMON]) for k in (1, 2))
    start = np.clip(np.log([values["common"][name] for name in COMMON]), low + 1e-6, high - 1e-6)

    def spread(x: Array) -> Values:
        shared = dict(zip(COMMON, np.exp(x).tolist(), strict=True))
        return {profile: {**row, **shared} for profile, row in values.items()}

    def loss(x: Array) -> Array:
        return residuals(data, predict(data, spread(x), mask), mask)

    found = least_squares(loss, start, bounds=(low, high), diff_step=2e-2, max_nfev=12)
    return spread(found.x)


def fit_profile(
    data: Data, values: Values, profile: str, mask: Mask, tries: int = 12
) -> dict[str, float]:
    """Return the constants of a profile that fit its rows of `mask`."""
    own = mask & (data.profile == profile)
    if not own.any():
        return dict(values["common"])
    low, high = (np.log([PROFILE[name][k] for name in PROFILE]) for k in (1, 2))
    centre = np.log([values["common"][name] for name in PROFILE])
    centre = np.clip(centre, low + 1e-6, high - 1e-6)
    start = np.clip(np.log([values[profile][name] for name in PROFILE]), low + 1e-6, high - 1e-6)

    prior = np.array([PRIOR[name] for name in PROFILE])

    def spread(x: Array) -> Values:
        row = {**values[profile], **dict(zip(PROFILE, np.exp(x).tolist(), strict=True))}
        return {**values, profile: row}

    def loss(x: Array) -> Array:
        return np.concatenate(
            [residuals(data, predict(data, spread(x), own), own), prior * (x - centre)]
        )

    found = least_squares(loss, start, bounds=(low, high), diff_step=2e-2, max_nfev=tries)
    return spread(found.x)[profile]


def fit(data: Data, mask: Mask, start: Values, rounds: int = 2) -> Values:
    """Return the constants that fit the rows of `mask`: each profile's, then all in common."""
    values = start
    for _ in range(rounds):
        for profile in profile_names():
            values[profile] = fit_profile(data, values, profile, mask)
        used = [p for p in profile_names() if (mask & (data.profile == p)).any()]
        for name in PROFILE:  # the centre is the geometric mean over profiles
            logs = [np.log(values[p][name]) for p in used]
            values["common"][name] = float(np.exp(np.median(logs)))
        values = fit_common(data, values, mask)
    return values


def left_out(data: Data, values: Values, key: str) -> Array:
    """Return predictions of each row by profiles fitted without the rows that share its key."""
    found = np.full((3, len(data.runs)), np.nan)
    column = data.keys[key]
    for one in np.unique(column):
        out = column == one
        own = {**values}
        for profile in np.unique(data.profile[out]):
            own[str(profile)] = fit_profile(data, values, str(profile), ~out, 6)
        found[:, out] = predict(data, own, out)[:, out]
    return found


def score(data: Data, predicted: Array, mask: Mask | None = None) -> str:
    """Return the median, 90th percentile and bias of errors over groups, by quantity."""
    parts: list[str] = []
    for q, (names, *_) in enumerate(QUANTITIES):
        by_group: dict[str, list[float]] = defaultdict(list)
        for run, ratio, kept in zip(
            data.runs,
            predicted[q] / data.measured[q],
            np.ones(len(data.runs)) if mask is None else mask,
            strict=True,
        ):
            if kept and np.isfinite(ratio):
                by_group[run.group].append(ratio - 1.0)
        if by_group:
            errors = [float(np.median(np.abs(r))) for r in by_group.values()]
            bias = float(np.median([np.median(r) for r in by_group.values()]))
            parts.append(
                f"{names[0]} {np.median(errors):.1%} (90th {np.quantile(errors, 0.9):.0%}, "
                f"bias {bias:+.0%}, {len(errors)})"
            )
    return ", ".join(parts)


def measured_by(data: Data, quantity: str) -> Array:
    """Return what rows measured of a quantity of intervals, in its unit."""
    if quantity == "ttft_p99_s":
        return np.array([run.number.get("ttft_p99_ms", np.nan) * 1e-3 for run in data.runs])
    return data.measured[[q[1] for q in QUANTITIES].index(quantity)]


def intervals(data: Data, left: Sequence[Array]) -> dict[str, Any]:
    """Return multipliers between which 80 % of measurements fall, by quantity and kind of run.

    Args:
        data: rows.
        left: predictions of rows that were left out, by quantity (3, rows). Simulated rows, and
            waits of one in a hundred, are taken from the constants as written, widened by as much
            as errors of the others grow when left out.
    """
    cases = data.group.cases
    kinds = [
        serving_kind(c.engine.profile, "apart" if c.pools else c.load.kind, routed=one.routed)
        for c, one in zip(cases, data.served, strict=True)
    ]
    routed = np.array([one.routed for one in data.served])
    final: dict[str, list[float]] = defaultdict(list)
    for found in outcomes(cases):
        for name in ("ttft_s", "ttft_p99_s", "tpot_s", "output_tokens_per_s"):
            final[name].append(float(getattr(found, name, np.nan)))
    result: dict[str, Any] = {}
    for name, column in final.items():
        measured, written = measured_by(data, name), np.array(column)
        ratios = [np.log(measured / written) * WIDENED]
        if name != "ttft_p99_s":
            at = [q[1] for q in QUANTITIES].index(name)
            for one in left:
                ratios.append(np.where(data.whole, np.log(measured / one[at]), ratios[0]))
            ratios = ratios[1:] or ratios
        result[name] = {}
        masks = {"dense": ~routed, "routed": routed}
        masks |= {kind: np.array([k == kind for k in kinds]) for kind in sorted(set(kinds))}
        for kind, mask in masks.items():
            flat = np.concatenate([one[mask] for one in ratios])
            weight = np.concatenate([data.weight[mask]] * len(ratios))
            kept = np.isfinite(flat)
            groups_there = len(
                {data.runs[i].group for i in np.flatnonzero(mask & np.isfinite(measured))}
            )
            if groups_there < FEWEST and kind not in ("dense", "routed"):
                continue
            low, high = _quantiles(flat[kept], weight[kept], (0.1, 0.9))
            # Runs like those that were fitted must lie in it as well.
            own = np.log(measured / written)[mask]
            seen = np.isfinite(own)
            own_low, own_high = _quantiles(own[seen], data.weight[mask][seen], (0.1, 0.9))
            low, high = np.exp([min(low, own_low), max(high, own_high)])
            result[name][kind] = {
                "low_ratio": round(min(float(low), 0.97), 3),
                "high_ratio": round(max(float(high), 1.03), 3),
                "runs": int(groups_there),
            }
    return result


def _quantiles(values: Array, weights: Array, at: Sequence[float]) -> Array:
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    return np.interp(at, share, values[order])


def write_intervals(spread: dict[str, Any]) -> None:
    """Write the intervals of services, those of media as they are."""
    path = data_folder("hardware_specs") / "calibration" / "serving_intervals.yaml"
    text = path.read_text(encoding="utf-8")
    table = yaml.safe_load(text)
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    body = yaml.safe_dump(
        {**spread, "media": table["media"]}, sort_keys=False, default_flow_style=None, width=120
    )
    path.write_text(header + body, encoding="utf-8")


def write(values: Values) -> None:
    """Write the constants to engines.yaml."""
    path = data_folder("hardware_specs") / "calibration" / "engines.yaml"
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("common:"):
            line = f"common: {_flow(values['common'], (*PROFILE, *COMMON), 'burst_ratio')}"
        elif line.startswith("benchmark:"):
            line = f"benchmark: {{burst_ratio: {_number(values['common']['burst_ratio'])}}}"
        elif line.startswith("profiles:"):
            lines.append(line)
            lines += [f"  {p}: {_flow(values[p], tuple(PROFILE))}" for p in profile_names()]
            continue
        elif line.startswith("  "):
            continue
        lines.append(line)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _flow(row: dict[str, float], names: Sequence[str], without: str = "") -> str:
    kept = [name for name in names if name != without]
    return "{" + ", ".join(f"{name}: {_number(row[name])}" for name in kept) + "}"


def _number(value: float) -> str:
    text = f"{value:.3g}"
    return text if "e" not in text or "." in text else text.replace("e", ".0e")


def _age(profile: str) -> str:
    return serving_kind(profile, "", routed=False).split()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", type=Path)
    parser.add_argument("--write", action="store_true", help="change hardware_specs/calibration")
    parser.add_argument(
        "--afresh", action="store_true", help="do not start where the last fit ended"
    )
    parser.add_argument("--keep", action="store_true", help="keep constants, renew intervals")
    parser.add_argument("--in-sample", action="store_true", help="leave nothing out")
    options = parser.parse_args()
    data = load(options.runs)
    everything = np.ones(len(data.runs), dtype=bool)
    start = initial() if options.afresh else current()
    values = start if options.keep else fit(data, everything, start)
    for name, row in values.items():
        print(name, {key: float(f"{value:.3g}") for key, value in row.items()})
    inside = predict(data, values, everything)
    print("in-sample:", score(data, inside), flush=True)
    for profile in profile_names():
        print(f"  {profile}:", score(data, inside, data.profile == profile), flush=True)
    if options.write:
        write(values)
    left: list[Array] = []
    if not options.in_sample:
        for key in ("model", "device"):
            left.append(left_out(data, values, key))
            print(f"without its {key}:", score(data, left[-1]), flush=True)
            for kind in ("new", "old", "generic"):
                mask = np.array([_age(one) == kind for one in data.profile])
                print(f"  {kind}:", score(data, left[-1], mask), flush=True)
    if options.write:
        write_intervals(intervals(data, left))


if __name__ == "__main__":
    sys.exit(main())
