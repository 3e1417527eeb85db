"""Write how far memory lies off by source and by framework, in sample and left out.

python benchmarks/calibration/memory.py    # renews its section of docs/memory.md

No constant of memory is fitted but the interval. Left out of it is the source or framework that is
scored; and to score a framework that nobody has read, its name is hidden, so that a row is
predicted by what its other cells state and plain PyTorch, or Megatron-LM where layers are divided.
"""

from __future__ import annotations

import csv
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from costsim.stacks import stack_for
from costsim.validation.entries import Entry
from costsim.validation.score import validate
from data import ROOT, SHARED

DOCS = ROOT / "docs" / "memory.md"
BEGIN, END = "<!-- by source: benchmarks/calibration/memory.py -->\n", "<!-- end -->\n"
HIDDEN = "software of which nothing is known"
FILES = {"memory_runs.csv": "measured_gb", "training_runs.csv": "memory_gb_per_gpu"}


def scored(name: str, measured: str, *, hidden: bool) -> dict[str, Entry]:
    """Return the entries of a file's rows that measured memory, by id."""
    with (SHARED / "validation" / name).open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row[measured]]
    for row in rows:
        row["framework"] = HIDDEN if hidden else row["framework"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        with path.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        found = validate(path).entries
    kept = (e for e in found if e.quantity == "memory_gb_per_gpu" and e.measured and e.predicted)
    return {entry.run.id: entry for entry in kept}


def ratio(entry: Entry) -> float:
    """Return measured over predicted."""
    assert entry.measured is not None
    assert entry.predicted is not None
    return entry.measured / entry.predicted


def error(entry: Entry) -> float:
    """Return |predicted / measured - 1|."""
    return abs(1 / ratio(entry) - 1)


def table(
    entries: Sequence[Entry], unread: Mapping[str, Entry], name_of: Callable[[Entry], str]
) -> list[str]:
    """Return lines of a table, each named by `name_of`."""
    named: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        named[name_of(entry)].append(entry)
    lines: list[str] = []
    for name, some in sorted(named.items()):
        errors = np.array([error(entry) for entry in some])
        hidden = [error(unread[e.run.id]) for e in some if e.run.id in unread]
        others = [ratio(e) for key, group in named.items() if key != name for e in group]
        low, high = np.quantile(others, (0.1, 0.9))
        own = [bool(e.low and e.high and e.low <= (e.measured or 0) <= e.high) for e in some]
        left = [low <= ratio(entry) <= high for entry in some]
        lines.append(
            f"| {name} | {len(some)} | {np.median(errors):.1%} | {np.quantile(errors, 0.9):.0%} | "
            f"{median(hidden) if hidden else float('nan'):.1%} | {np.mean(own):.0%} | "
            f"{np.mean(left):.0%} |"
        )
    return lines


def section() -> str:
    """Return the section of docs/memory.md."""
    read: list[Entry] = []
    unread: dict[str, Entry] = {}
    for name, measured in FILES.items():
        read += scored(name, measured, hidden=False).values()
        unread |= scored(name, measured, hidden=True)
    head = (
        "| {} | rows | median | 9 of 10 | median, framework hidden | inside interval | "
        "inside, left out of it |\n|---|---|---|---|---|---|---|"
    )
    by_source = table(
        read, unread, lambda e: e.run.text.get("source_id") or e.run.text.get("source", "")
    )
    by_stack = table(read, unread, lambda e: _stack(e.run.text.get("framework", "")))
    errors, hidden = (sorted(map(error, some)) for some in (read, unread.values()))
    return "\n".join(
        (
            f"Median of all {len(errors)} rows {median(errors):.1%}, {median(hidden):.1%} with the "
            "framework's name hidden.\n",
            head.format("source"),
            *by_source,
            "",
            head.format("stack"),
            *by_stack,
            "",
        )
    )


def _stack(words: str) -> str:
    found = stack_for(words)
    return found.id if found.known else "not known"


def main() -> None:
    """Renew the section."""
    text = DOCS.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    DOCS.write_text(before + BEGIN + section() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
