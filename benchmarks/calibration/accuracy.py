"""Write docs/accuracy.md and hardware_specs/calibration/intervals.yaml from residuals left out.

    python benchmarks/calibration/fit_training.py RUNS.csv --leave-out --residuals R.csv
    python benchmarks/calibration/accuracy.py RUNS.csv R.csv

Intervals are conformal: quantiles of measured over predicted of runs that the constants were fitted
without. Each kind of ignorance has a width of its own, learned by leaving out what it is about:
the class of devices, the format, or the source of all others.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from fit_power import section

from costsim.hardware.calibration import class_of
from costsim.planning.intervals import UNSURE, step_time_limits, unsure_of
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
FEWEST = 20  # groups that make a width of their own
NOT_MEASURED = {
    "framework_not_measured": "framework",
    "class_not_measured": "class",
    "maker_not_measured": "class",
    "format_not_measured": "format",
}
"""What is left out to learn how wide each is."""
WIDER = {"large_scale": "host_bound", "layout_searched": "mixture", "guessed": "mixture"}
"""The kind whose width one of few groups takes."""
ALONE = ("Google", "AMD", "Intel")
"""Makers of which one class is measured: without it, none is."""
LEFT_OUT = ("source", "class", "framework", "format")
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
    "bridge-cards": "Runs that verify a recipe on real data. Slow are those over packed documents "
    "with context parallelism (three times even where documents are counted as rotated one by one; "
    "those of Mamba too), those with the sparse attention of GLM-5, whose scores Megatron-Core "
    "makes whole and in fp32 (counted as plain attention), and adapters on experts.",
    "bridge-skills": "One micro-batch a step, bound by the host's calls for experts.",
    "easycontext": "Attention over 500,000 tokens reaches more of its peak than over 8,000.",
    "fms-acceleration": "Layers that no plugin fuses are a seventh slower than fused ones; "
    "weights of 4 bits add nothing that shows.",
    "internevo": "ZeRO over 1,024 devices on 50 Gb/s each slows more than its traffic explains.",
    "megatron-bridge": "Same columns differ by 6 % between releases, and by up to 77 %.",
    "mlperf-v5.0": "Searched layouts are not always those that ran; MI300X differs by stack.",
    "nanotron-ultrascale": "One micro-batch a step on 512 devices waits for a network of which "
    "nothing is stated.",
    "optimum-habana": "Floors of continuous integration, not best runs.",
    "torchao-torchtitan": "Compiled FSDP2 on MI300X and Blackwell is far from the vendors' stacks.",
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
    """Predicted over measured of one run: with everything fitted, and without what it belongs to.

    `without` is by what was left out: its source, class of devices, framework or format.
    """

    run: Run
    prediction: Prediction
    inside: float
    without: Mapping[str, float]

    @property
    def outside(self) -> float:
        return self.without["source"]

    @property
    def source(self) -> str:
        return self.run.text.get("source_id", "")


LEFT_OUT_BY: dict[str, Callable[[Scored], str]] = {
    "class": lambda s: class_of(s.prediction.configuration.job.system.accelerator.architecture),
    "framework": lambda s: s.prediction.configuration.job.software.name,
    "maker": lambda s: s.prediction.configuration.job.system.accelerator.vendor,
    "format": lambda s: s.prediction.configuration.job.precision.name,
}
"""What is left out together with a row, beside its source."""


def by_group(scored: Iterable[Scored], which: str) -> np.ndarray:
    groups: dict[str, list[float]] = defaultdict(list)
    for entry in scored:
        groups[entry.run.group].append(entry.inside if which == "inside" else entry.without[which])
    return np.array([np.median(values) for values in groups.values()])


def quantiles(scored: list[Scored], which: str = "source") -> tuple[float, float]:
    """Return the multipliers of an estimate between which measurements fall."""
    measured = 1 / by_group(scored, which)
    tail = (1 - COVERED) / 2
    return float(np.quantile(measured, tail)), float(np.quantile(measured, 1 - tail))


def unsure(entry: Scored, which: str = "source") -> tuple[str, ...]:
    """Return the kinds of ignorance of a run whose class, or format, was left out or not."""
    job = entry.prediction.configuration.job
    kinds = unsure_of(
        job.system,
        job.system.count,
        entry.prediction.host_ratio,
        mixture=job.routes,
        searched=entry.prediction.divided,
        software=job.software.name,
        guessed=entry.prediction.configuration.guessed,
    )
    alone = job.system.accelerator.vendor in ALONE
    left_out = {
        "class": ("maker_not_measured" if alone else "class_not_measured",),
        "framework": ("framework_not_measured",),
        "format": ("format_not_measured",),
    }
    return tuple(dict.fromkeys((*left_out.get(which, ()), *kinds)))


def covered(scored: list[Scored], table: Mapping[str, Any], which: str = "source") -> float:
    """Return the share of groups whose median measurement lies within its interval."""
    groups: dict[str, list[Scored]] = defaultdict(list)
    for entry in scored:
        groups[entry.run.group].append(entry)
    inside = 0
    for members in groups.values():
        low, high = step_time_limits(table, unsure(members[0], which))
        inside += low <= 1 / float(np.median([m.without[which] for m in members])) <= high
    return inside / max(len(groups), 1)


def covered_by_kind(scored: list[Scored], table: Mapping[str, Any], which: str) -> float:
    """Return the share covered where every class, or format, is one witness of those not measured.

    What is never measured is exchangeable with the others as a whole: a class of a thousand groups
    tells no more of the next one than a class of twenty.
    """
    kinds: dict[str, list[Scored]] = defaultdict(list)
    for entry in scored:
        kinds[LEFT_OUT_BY[which](entry)].append(entry)
    weights = {k: min(len(by_group(mine, which)), FEWEST) for k, mine in kinds.items()}
    held = sum(weights[k] * covered(mine, table, which) for k, mine in kinds.items())
    return held / max(sum(weights.values()), 1)


def table_of(steps: list[Scored], guessed: list[Scored]) -> dict[str, Any]:
    """Return widths by kind of ignorance: each the least with which 8 of 10 groups are covered.

    Measured over predicted of estimates that are subject to none is centred: a common bias of the
    sources that happen to be known is not that of the next.
    """
    plain = [s for s in steps if not unsure(s)]
    low, high = quantiles(plain)
    middle = float(np.median(1 / by_group(plain, "source")))
    widths: dict[str, dict[str, Any]] = {k: {"width": 0.0, "groups": 0} for k in UNSURE}
    table: dict[str, Any] = {
        "known": {"low_ratio": low / middle, "high_ratio": high / middle},
        "widths": widths,
        "formats": sorted({LEFT_OUT_BY["format"](s) for s in steps}),
        "classes": often("class", steps),
        "makers": often("maker", steps),
        "software": often("framework", steps),
    }
    table["known"]["groups"] = len(by_group(plain, "source"))
    order = ("host_bound", "mixture", "large_scale", "layout_searched", "guessed")
    for kind in (*order, *NOT_MEASURED):
        which = NOT_MEASURED.get(kind, "source")
        known = guessed if kind == "guessed" else steps
        mine = [s for s in known if kind in unsure(s, which)]
        widths[kind]["groups"] = len(by_group(mine, which))
        if widths[kind]["groups"] < FEWEST:
            widths[kind]["width"] = widths[WIDER.get(kind, "mixture")]["width"]
            continue
        for width in np.arange(0.0, 1.5, 0.01):
            widths[kind]["width"] = float(width)
            found = covered if which == "source" else covered_by_kind
            if found(mine, table, which) >= COVERED:
                break
    return table


def often(which: str, steps: list[Scored]) -> list[str]:
    """Return the classes, makers or frameworks of which there are groups enough to know them."""
    kinds: dict[str, set[str]] = defaultdict(set)
    for entry in steps:
        kinds[LEFT_OUT_BY[which](entry)].add(entry.run.group)
    return sorted(kind for kind, groups in kinds.items() if len(groups) >= FEWEST)


def plain_memory_bytes(prediction: Prediction) -> float:
    """Return the memory as estimated for a framework that was never measured."""
    job = prediction.configuration.job
    software = replace(
        job.software, context_bytes=PLAIN_CONTEXT_BYTES, reserve_ratio=PLAIN_RESERVE_RATIO
    )
    found = evaluate(replace(job, software=software), Strategies.of([prediction.strategy]))
    return float(found.memory_bytes[0])


def scores(
    runs: list[Run], left_out: Mapping[str, Mapping[str, float]]
) -> tuple[list[Scored], list[Scored], list[Scored]]:
    """Return steps, memory, and steps of rows that leave something open, as far as measured."""
    steps: list[Scored] = []
    guessed: list[Scored] = []
    memory: list[Scored] = []
    for run, prediction in zip(runs, predict(runs), strict=True):
        if isinstance(prediction, str):
            continue
        step_s = measured_step_time_s(run, prediction)
        inside = prediction.step_time_s / step_s if step_s else 0.0
        if not prediction.configuration.tells_constants:
            if inside and prediction.configuration.guessed:
                guessed.append(Scored(run, prediction, inside, dict.fromkeys(LEFT_OUT, inside)))
            continue
        if inside and run.id in left_out:
            steps.append(Scored(run, prediction, inside, left_out[run.id]))
        measured = run.number.get("memory_gb_per_gpu", 0.0) * 1e9
        if measured:
            outside = plain_memory_bytes(prediction) / measured
            ratios = {"source": outside}
            memory.append(Scored(run, prediction, prediction.memory_bytes / measured, ratios))
    return steps, memory, guessed


def intervals(table: Mapping[str, Any], before: str) -> str:
    """Return intervals.yaml; of memory it says what it said `before`: that is kept by hand."""
    basis = (
        f"{COVERED:.0%} of measured over predicted, each predicted by constants fitted without "
        "what the width is about"
    )
    known = table["known"]
    text = [
        "# Multipliers of an estimate between which 80 % of measurements fall: of those of no",
        "# ignorance, and widths of the logarithm that each kind of it adds.",
        "# Written by benchmarks/calibration/accuracy.py.",
        "step_time_s:",
        f"  basis: {json.dumps(basis)}",
        f"  known: {{low_ratio: {known['low_ratio']:.3f}, high_ratio: {known['high_ratio']:.3f}, "
        f"groups: {known['groups']}}}",
        f"  formats: [{', '.join(table['formats'])}]  # of precision recipes with measured steps",
        f"  classes: [{', '.join(table['classes'])}]  # of {FEWEST} groups of runs or more",
        f"  makers: [{', '.join(table['makers'])}]",
        f"  software: [{', '.join(table['software'])}]",
        "  widths:",
        *(
            f"    {kind}: {{width: {row['width']:.3f}, groups: {row['groups']}}}"
            for kind, row in table["widths"].items()
        ),
    ]
    return "\n".join(text) + "\n" + before[before.index("memory_bytes_per_device:") :]


def row(
    name: str, scored: list[Scored], table: Mapping[str, Any] | None, which: str = "source"
) -> str:
    cells = [name, str(len(by_group(scored, "inside")))]
    for kind in ("inside", which):
        ratios = by_group(scored, kind)
        errors = np.abs(ratios - 1)
        cells += [
            f"{np.median(errors):.1%}",
            f"{np.quantile(errors, 0.9):.0%}",
            f"{np.median(ratios) - 1:+.1%}",
        ]
    if table is not None:
        cells.append(f"{covered(scored, table, which):.0%}")
    return "| " + " | ".join(cells) + " |"


def left_out(steps: list[Scored], table: Mapping[str, Any]) -> list[str]:
    """Return what leaving out a source, class, framework or format costs, dense and mixtures."""
    lines: list[str] = []
    for which in LEFT_OUT:
        lines.append(f"\n### One {which} left out\n")
        lines.append(HEAD.replace("source", which))
        for name, mine in families(steps):
            lines.append(row(f"**{name}**", mine, table, which))
        if which in LEFT_OUT_BY:
            kind = LEFT_OUT_BY[which]
            names = sorted({kind(s) for s in steps})
            lines += [row(n, [s for s in steps if kind(s) == n], table, which) for n in names]
    return lines


def families(steps: list[Scored]) -> list[tuple[str, list[Scored]]]:
    """Return dense models, mixtures and steps bound by launches."""
    rest = [s for s in steps if s.source != "vtrain-single"]
    return [
        ("dense", [s for s in rest if not s.prediction.configuration.job.routes]),
        ("mixtures", [s for s in rest if s.prediction.configuration.job.routes]),
        ("vtrain-single", [s for s in steps if s.source == "vtrain-single"]),
    ]


HEAD = (
    "| source | groups | median | 9 of 10 | bias | median | 9 of 10 | bias | inside interval |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def document(
    runs: list[Run],
    steps: list[Scored],
    memory: list[Scored],
    limits: Mapping[str, Any],
    power: list[str],
) -> str:
    """Return docs/accuracy.md; `power` is its section on devices that serve."""
    large = [s for s in steps if s.source != "vtrain-single"]
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
        "\n## What was left out\n",
        "The second three figures are of constants fitted without the source, the class of "
        "devices, the framework or the number format of the row.",
        *left_out(steps, limits),
        "\n## By kind of ignorance\n",
        "Widths add in quadrature (`hardware_specs/calibration/intervals.yaml`).\n",
        HEAD.replace("source", "kind"),
        row("none", [s for s in steps if not unsure(s)], limits),
        *(
            row(name, mine, limits)
            for name in UNSURE
            if (mine := [s for s in steps if name in unsure(s)])
        ),
        "\n## Whole projects\n",
        *totals(entries),
        "",
        *power,
        f"## Memory per device ({len(memory):,} runs)\n",
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


def totals(entries: list[Entry]) -> list[str]:
    """Return errors of device-hours and energy of whole runs, which is what is paid for."""
    lines = [
        "| quantity | runs | median | 9 of 10 | bias | inside interval |",
        "|---|---|---|---|---|---|",
    ]
    for quantity, name in (("gpu_hours", "device-hours"), ("energy_mwh", "energy")):
        for families_ in (("llm-dense", "moe"), FAMILIES):
            mine = [
                e
                for e in entries
                if e.quantity == quantity and e.run.text.get("family") in families_
            ]
            part = summarize(mine)
            if part.median_abs_error is None:
                continue
            kind = "language models" if "moe" in families_ else "images, encoders, diffusion"
            lines.append(
                f"| {name}, {kind} | {part.n} | {part.median_abs_error:.1%} "
                f"| {part.p90_abs_error:.0%} | {part.bias:+.1%} | {part.interval_coverage:.0%} |"
            )
    return lines


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
        left = {
            line["id"]: {which: float(line[which]) for which in LEFT_OUT}
            for line in csv.DictReader(handle)
        }
    runs = list(read_runs(arguments.runs).runs)
    steps, memory, guessed = scores(runs, left)
    table = table_of(steps, guessed)
    folder = Path(data_folder("hardware_specs"))
    path = folder / "calibration" / "intervals.yaml"
    path.write_text(intervals(table, path.read_text()))
    docs = folder.parent / "docs" / "accuracy.md"
    power = section(arguments.runs.with_name("inference_runs.csv"))
    docs.write_text(document(runs, steps, memory, table, power), encoding="utf-8")


if __name__ == "__main__":
    main()
