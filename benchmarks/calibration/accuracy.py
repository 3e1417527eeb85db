"""Write docs/accuracy.md and hardware_specs/calibration/intervals.yaml from residuals left out.

    python benchmarks/calibration/fit_training.py RUNS.csv --leave-out --residuals R.csv
    python benchmarks/calibration/accuracy.py RUNS.csv R.csv

Intervals are conformal: quantiles of measured over predicted of runs whose source the constants
were fitted without, so that they hold for runs of a source never seen, as far as those are alike.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from costsim.planning.intervals import REGIMES, regime
from costsim.resources import data_folder
from costsim.training.evaluate import evaluate
from costsim.training.strategy import Strategies
from costsim.validation.entries import Entry
from costsim.validation.kind import Context
from costsim.validation.kinds.language import measured_step_time_s, predict
from costsim.validation.named import FAMILIES
from costsim.validation.pipeline import entries_of
from costsim.validation.predict import Prediction
from costsim.validation.runs import Run, read_runs
from costsim.validation.score import summarize

COVERED = 0.8
FEWEST = 12  # groups that make quantiles of their own
PLAIN_CONTEXT_BYTES = 1.5e9  # held by driver and communication where a framework was not measured
PLAIN_RESERVE_RATIO = 0.03

MISSES = {
    "bloom-prequel": "Micro-batches of one, and two or six stages, run slower than estimated: "
    "DeepSpeed's pipeline engine of 2022. Rows that repeat one configuration differ by 40 %.",
    "gcp-gpu-recipes": "One log line a row; MaxText's own recomputation is assumed.",
    "jax-toolbox": "PAX of 2023 is taken to recompute as its recipes do; on H100 it is far slower "
    "than its kernels.",
    "llm-foundry": "65,536 tokens of the smallest model run faster than estimated; runs that fill "
    "memory to the last gigabyte (30B on 8 devices) are slower.",
    "maxtext-readme": "Only TFLOP/s are published; traffic between 32 slices is underestimated.",
    "megatron-bridge": "Recomputation is not stated; a model of 126 layers on 64 chunks is uneven.",
    "megatron-recompute": "Within a few percent; without this source nothing tells how "
    "near its framework's products come to the library's.",
    "mlperf-v3.1": "Precision is not stated for Gaudi 2, whose constants are of no measurement; "
    "gathers in fp8 came to NVIDIA's entries only later.",
    "mlperf-v4.0": "Adapters on DeepSpeed run four times slower than the same work elsewhere; "
    "L40S over PCIe is slower and faster by system.",
    "nemo-2407": "Adapters are charged the backward pass of every layer; one run of 16 devices "
    "must hold its states in some other way.",
    "nemo-longctx": "Tensor parallelism over 32 devices of four nodes is five times slower than "
    "its traffic explains.",
    "run-reports-dev": "Whole projects: strategy and batch are seldom stated, and speed includes "
    "interruptions.",
    "simumax-b200": "Eight-way tensor parallelism leaves more gaps than estimated. Without this "
    "source nothing tells how far 16-bit products of Blackwell throttle.",
    "tpu-recipes": "Policies that move activations to the host are taken for full recomputation.",
    "vtrain-single": "Steps of 0.1 s, bound by launches: eight-way tensor parallelism is slower "
    "than estimated. Without this source few runs tell what a launch costs.",
}


@dataclass(frozen=True)
class Scored:
    """Predicted over measured of one run: with everything fitted, and without its source."""

    run: Run
    prediction: Prediction
    inside: float
    outside: float

    @property
    def source(self) -> str:
        return self.run.text.get("source_id", "")


def by_group(scored: Iterable[Scored], which: str) -> np.ndarray:
    groups: dict[str, list[float]] = defaultdict(list)
    for entry in scored:
        groups[entry.run.group].append(getattr(entry, which))
    return np.array([np.median(values) for values in groups.values()])


def quantiles(scored: list[Scored], which: str = "outside") -> tuple[float, float]:
    """Return the multipliers of an estimate between which measurements fall."""
    measured = 1 / by_group(scored, which)
    tail = (1 - COVERED) / 2
    return float(np.quantile(measured, tail)), float(np.quantile(measured, 1 - tail))


def limits_of(steps: list[Scored]) -> dict[str, tuple[float, float]]:
    """Return the interval of each regime.

    Nearly all steps that are bound by the host are of one source, which decides what a launch
    costs: their interval spans the quantiles of the fit and of the source left out, so that it
    holds for hosts like that and for others. A regime of a few groups has the widest of its own
    and of all.
    """
    low, high = quantiles([s for s in steps if regime_of(s) != "host_bound"])
    found = {}
    for name in REGIMES:
        mine = [s for s in steps if regime_of(s) == name]
        if name == "host_bound":
            both = quantiles(mine, "inside"), quantiles(mine)
            found[name] = min(x for x, _ in both), max(x for _, x in both)
        elif len(by_group(mine, "outside")) >= FEWEST:
            found[name] = quantiles(mine)
        else:
            measured = 1 / by_group(mine, "outside")
            found[name] = (min(low, *measured), max(high, *measured))
    # The largest machines are never surer than others, however alike the few that were measured.
    known, large = found["known"], found["large_scale"]
    found["large_scale"] = (min(known[0], large[0]), max(known[1], large[1]))
    return found


def plain_memory_bytes(prediction: Prediction) -> float:
    """Return the memory as estimated for a framework that was never measured."""
    job = prediction.configuration.job
    software = replace(
        job.software, context_bytes=PLAIN_CONTEXT_BYTES, reserve_ratio=PLAIN_RESERVE_RATIO
    )
    found = evaluate(replace(job, software=software), Strategies.of([prediction.strategy]))
    return float(found.memory_bytes[0])


def scores(runs: list[Run], left_out: dict[str, float]) -> tuple[list[Scored], list[Scored]]:
    """Return steps and memory of all runs that were measured."""
    steps: list[Scored] = []
    memory: list[Scored] = []
    for run, prediction in zip(runs, predict(runs), strict=True):
        if isinstance(prediction, str) or not prediction.configuration.tells_constants:
            continue
        step_s = measured_step_time_s(run, prediction)
        if step_s and run.id in left_out:
            inside = prediction.step_time_s / step_s
            steps.append(Scored(run, prediction, inside, left_out[run.id]))
        measured = run.number.get("memory_gb_per_gpu", 0.0) * 1e9
        if measured:
            outside = plain_memory_bytes(prediction) / measured
            memory.append(Scored(run, prediction, prediction.memory_bytes / measured, outside))
    return steps, memory


def regime_of(entry: Scored) -> str:
    job = entry.prediction.configuration.job
    return regime(job.system, job.system.count, entry.prediction.host_ratio, mixture=job.routes)


def intervals(steps: list[Scored], memory: list[Scored]) -> str:
    """Return intervals.yaml."""
    basis = (
        f"{COVERED:.0%} of measured over predicted, each source predicted by constants fitted "
        "without it"
    )

    within = "; host_bound: spans those of the fit too"
    text = [
        "# Multipliers of an estimate between which 80 % of measurements fall.",
        "# Written by benchmarks/calibration/accuracy.py.",
        "step_time_s:",
        f"  basis: {json.dumps(basis + within)}",
        "  regimes:",
    ]
    for name, (low, high) in limits_of(steps).items():
        groups = len(by_group([s for s in steps if regime_of(s) == name], "outside"))
        text.append(
            f"    {name}: {{low_ratio: {low:.3f}, high_ratio: {high:.3f}, groups: {groups}}}"
        )
    low, high = quantiles(memory)
    text += [
        "memory_bytes_per_device:",
        f"  low_ratio: {low:.3f}",
        f"  high_ratio: {high:.3f}",
        f"  basis: {json.dumps(basis)}",
    ]
    return "\n".join(text) + "\n"


def row(name: str, scored: list[Scored], limits: dict[str, tuple[float, float]] | None) -> str:
    cells = [name, str(len(by_group(scored, "inside")))]
    for which in ("inside", "outside"):
        ratios = by_group(scored, which)
        errors = np.abs(ratios - 1)
        cells += [
            f"{np.median(errors):.1%}",
            f"{np.quantile(errors, 0.9):.0%}",
            f"{np.median(ratios) - 1:+.1%}",
        ]
    if limits is not None:
        covered = np.mean(
            [limits[regime_of(s)][0] <= 1 / s.outside <= limits[regime_of(s)][1] for s in scored]
        )
        cells.append(f"{covered:.0%}")
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| source | groups | median | 9 of 10 | bias | median | 9 of 10 | bias | inside interval |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def document(runs: list[Run], steps: list[Scored], memory: list[Scored]) -> str:
    """Return docs/accuracy.md."""
    large = [s for s in steps if s.source != "vtrain-single"]
    limits = limits_of(steps)
    entries, fitted = entries_of(runs, "training", Context()), {s.run.id for s in steps}
    sources = sorted({s.source for s in steps})
    parts = [
        "# Accuracy\n",
        "Written by `benchmarks/calibration/accuracy.py`; do not edit.\n",
        "Every published run is predicted from its configuration alone. Errors are "
        "|predicted / measured − 1|; near-identical rows (a group) count once, by their median. "
        "The first three figures use constants fitted on all sources; the second three constants "
        "fitted without the source that is predicted, which is what a cluster never seen can "
        "expect. Intervals should hold 80 % of the measurements.\n",
        f"## Step time of language models, dense and of experts ({len(steps):,} runs)\n",
        "Fitted on all sources, then without the source:\n",
        HEAD,
        *(row(name, [s for s in steps if s.source == name], limits) for name in sources),
        row("**all but vtrain-single**", large, limits),
        "\n## Where it misses\n",
        *(f"- **{name}**: {MISSES[name]}" for name in sources if name in MISSES),
        "\n## Step time by regime\n",
        HEAD.replace("source", "regime"),
        *(
            row(name, mine, limits)
            for name in REGIMES
            if (mine := [s for s in steps if regime_of(s) == name])
        ),
        f"\n## Memory per device ({len(memory):,} runs)\n",
        "The second three figures take context and allocator of a framework never measured.\n",
        "| source | groups | median | 9 of 10 | bias | median | 9 of 10 | bias |",
        "|---|---|---|---|---|---|---|---|",
        *(
            row(name, [s for s in memory if s.source == name], None)
            for name in sorted({s.source for s in memory})
        ),
        row("**all**", memory, None),
        "\nbloom-prequel states what nvidia-smi shows, simumax-b200 the peak that is allocated. "
        "Of six groups that ran out of memory, five are predicted to; the sixth ran with as much "
        "in the row beside it.\n",
        "## What rows leave open\n",
        "Rows without a shape, a sequence or a batch are predicted for the catalog's model of that "
        "name, or for a decoder of the usual proportions of their size, and a usual sequence and "
        "batch (docs/validation.md). No constant is fitted on them, and they count in no figure "
        "above. The profile of plain PyTorch is the exception: Transformer-XL helps to fit it, "
        "beside image models and encoders (docs/vision.md). Of whole projects, speed includes what "
        "went wrong.\n",
        *assumed(entries, fitted),
        "\n## What is not predicted\n",
        *unpredicted(entries, len(runs)),
    ]
    return "\n".join(parts) + "\n"


def assumed(entries: list[Entry], fitted: set[str]) -> list[str]:
    """Return the accuracy of steps whose rows leave open what was then assumed."""
    lines = [
        "| source | model | groups | median | 9 of 10 | bias | inside interval |",
        "|---|---|---|---|---|---|---|",
    ]
    steps = [e for e in entries if e.quantity == "step_time_s" and e.run.id not in fitted]
    steps = [e for e in steps if e.run.text.get("family") not in FAMILIES]
    by: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in steps:
        kind = "shape by size" if "a shape usual" in entry.reason else "shape known"
        by[entry.run.text.get("source_id", ""), kind].append(entry)
    for (name, kind), mine in sorted(by.items()):
        part = summarize(mine)
        if part.median_abs_error is None:
            continue
        groups = len({e.run.group for e in mine if e.status == "scored"})
        lines.append(
            f"| {name} | {kind} | {groups} | {part.median_abs_error:.1%} "
            f"| {part.p90_abs_error:.0%} | {part.bias:+.1%} | {part.interval_coverage:.0%} |"
        )
    return lines


def unpredicted(entries: list[Entry], rows: int) -> list[str]:
    """Return how many rows are predicted, and why the others are not."""
    found = {e.run.id for e in entries if e.predicted is not None}
    counts: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.run.id not in found:
            counts[entry.reason].add(entry.run.id)
    return [
        f"{len(found):,} of {rows:,} rows of all families ({len(found) / rows:.1%}) are "
        "predicted. The others:\n",
        *(f"- {len(ids)} rows: {why}" for why, ids in sorted(counts.items())),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path)
    parser.add_argument("residuals", type=Path)
    arguments = parser.parse_args()
    with arguments.residuals.open() as handle:
        left_out = {line["id"]: float(line["ratio"]) for line in csv.DictReader(handle)}
    runs = list(read_runs(arguments.runs).runs)
    steps, memory = scores(runs, left_out)
    folder = Path(data_folder("hardware_specs"))
    (folder / "calibration" / "intervals.yaml").write_text(intervals(steps, memory))
    docs = folder.parent / "docs" / "accuracy.md"
    docs.write_text(document(runs, steps, memory), encoding="utf-8")


if __name__ == "__main__":
    main()
