"""Write docs/kernels.md: how well each kernel and link is timed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from data import ROOT, Fit

INTRODUCTION = """# How well kernels and links are timed

Written by `benchmarks/calibration/run.py`. Errors are |predicted/measured − 1| in percent: the
median of the fit, the median and 90th percentile of shapes that the fit did not see (whole (n, k)
shapes for products, head/batch shapes for attention, models for experts), and the bias of those.
Where several frameworks timed a shape the fastest counts; they differ by up to 20 %. Products with
n or k under 512 and those faster than memory can deliver (the benchmark repeats one product, so it
reads the cache) are left out. `all` adds the shapes of attention that were not fitted: windows, odd
head counts, head dimensions 192 and 512.
"""
TRANSFER = """`class`: constants of the other device of its class. `sheet only`: the medians of
the other classes, which is what a device known only by its sheet gets. Medians over all shapes."""
LINKS = """Library (NCCL) rows of 2, 4 and 8 ranks in one node, 512 B to 512 MB; a fifth of the
message sizes is held out, and the column of all-reduce is of these. `Device out`: the worst median
of a device left out of the fit."""


POOLS = {
    "products, bf16": [("gemm", "bf16")],
    "products, fp8 and fp4": [("gemm", "fp8"), ("gemm", "fp8_block"), ("gemm", "nvfp4")],
    "attention of prefill and training, bf16": [("attention", "bf16")],
    "attention of prefill, fp8": [("attention", "fp8")],
    "attention of decode, bf16": [("decode", "bf16")],
    "attention of decode, fp8 cache": [("decode", "fp8")],
    "latent attention of decode": [("decode", "latent")],
    "routed experts, bf16": [("grouped", "bf16")],
    "routed experts, fp8 and fp4": [
        ("grouped", "fp8"),
        ("grouped", "fp8_block"),
        ("grouped", "nvfp4"),
    ],
}


def _pooled(groups: Mapping[str, Mapping[str, Mapping[str, Fit]]]) -> list[str]:
    """Return the rows of the table of held-out points of all classes."""
    lines = ["| Kernel | Points held out | Median | p90 |", "|---|---:|---:|---:|"]
    for label, members in POOLS.items():
        errors = np.concatenate(
            [
                families[group][family].held_out_errors
                for families in groups.values()
                for group, family in members
                if family in families.get(group, {})
            ]
        )
        lines.append(
            f"| {label} | {len(errors):,} | {100 * np.median(errors):.1f} "
            f"| {100 * np.quantile(errors, 0.9):.1f} |"
        )
    return lines


def write_docs(
    groups: Mapping[str, Mapping[str, Mapping[str, Fit]]],
    transfer: list[tuple[str, str, str, float]],
    stream: Fit,
    stream_left_out: Mapping[str, float],
    links: Mapping[str, Mapping[str, float]],
    exchanged: Fit,
) -> None:
    """Write the table of fit errors."""

    def percent(value: float) -> str:
        return f"{100 * value:.1f}"

    lines = [
        *INTRODUCTION.splitlines(),
        "| Class | Kernel | Points | Fit | Held out | p90 | Bias | all |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    everything = {**groups, "all": {"streaming": {"": stream}, "expert exchange": {"": exchanged}}}
    for name, families_of in everything.items():
        for group, families in families_of.items():
            for family, f in families.items():
                label = f"{group} {family}".strip()
                rest = percent(f.all_shapes) if f.all_shapes is not None else ""
                lines.append(
                    f"| {name} | {label} | {f.points:,} | {percent(f.in_sample)} "
                    f"| {percent(f.held_out)} | {percent(f.held_out_p90)} | {percent(f.bias)} "
                    f"| {rest} |"
                )
    lines += ["", "## All classes together", "", *_pooled(groups), ""]
    lines += [
        "## Devices that the constants never saw",
        "",
        *TRANSFER.splitlines(),
        "",
        "| Kernel | Device | class | sheet only |",
        "|---|---|---:|---:|",
    ]
    paired: dict[tuple[str, str], dict[str, float]] = {}
    for label, device, how, error in transfer:
        if not np.isfinite(error):
            continue  # that device was not timed
        paired.setdefault((label, device), {})[how.split()[0]] = error
    for (label, device), found in paired.items():
        own = percent(found["class"]) if "class" in found else ""
        sheet = percent(found["sheet"]) if "sheet" in found else ""
        lines.append(f"| {label} | {device} | {own} | {sheet} |")
    for device, error in stream_left_out.items():
        lines.append(f"| streaming | {device} | {percent(error)} | {percent(error)} |")
    lines += [
        "",
        "## Collectives",
        "",
        *LINKS.splitlines(),
        "",
        "| Link | Points | Fit | Held out | p90 | All-reduce | 8 ranks left out | Device out |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for link, row in links.items():
        extra = [
            percent(row[key]) if key in row and np.isfinite(row[key]) else ""
            for key in ("all_reduce", "ranks_out", "device_out")
        ]
        lines.append(
            f"| {link} | {row['points']:,} | {percent(row['in_sample'])} "
            f"| {percent(row['held_out'])} | {percent(row['held_out_p90'])} | "
            + " | ".join(extra)
            + " |"
        )
    (ROOT / "docs" / "kernels.md").write_text("\n".join(lines) + "\n")
