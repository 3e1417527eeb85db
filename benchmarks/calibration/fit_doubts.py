"""Widths of doubts: how much further rows lie from their predictions where something is in doubt.

    python benchmarks/calibration/fit_doubts.py ../shared/validation/training_runs.csv [--write]

Of dense language models, whose steps are predicted best, the residuals of rows in one doubt are
compared with those of rows in none: the width that adds in quadrature to the quantile that holds 8
of 10 of the latter is the one that holds 8 of 10 of the former. A ground of fewer than `FEWEST`
groups has the widest of the others.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from math import sqrt
from pathlib import Path

import numpy as np

from costsim.resources import data_folder
from costsim.validation.account import SAID, Ground
from costsim.validation.entries import Entry
from costsim.validation.score import validate

COVERED = 0.8
FEWEST = 20
HEAD = """\
# Widths that doubts about a row add in quadrature to the interval of a prediction, in its natural
# logarithm, by ground (costsim.validation.account): by how much further rows in that doubt lie from
# their predictions than rows in none. Written by benchmarks/calibration/fit_doubts.py on published
# steps of dense language models. A ground of fewer than {fewest} groups has the widest of the rest.
# Other parameters add the logarithm of their ratio, which time and memory are proportional to.
"""


def grounds_of(entry: Entry) -> frozenset[Ground]:
    """Return the grounds on which an entry is in doubt."""
    parts = [part.split(":")[0] for part in entry.reason.split("; ")]
    return frozenset(ground for ground, words in SAID.items() if words in parts)


def quantile(entries: list[Entry]) -> tuple[int, float]:
    """Return how many groups there are, and what logarithm holds 8 of 10 of their residuals."""
    by: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        assert entry.predicted
        assert entry.measured
        by[entry.run.group].append(abs(float(np.log(entry.predicted / entry.measured))))
    medians = [float(np.median(group)) for group in by.values()]
    return len(by), float(np.quantile(medians, COVERED)) if medians else 0.0


def main(path: Path, write: bool) -> None:
    """Print the widths, and write them where asked to."""
    steps = [
        entry
        for entry in validate(path).entries
        if entry.quantity == "step_time_s"
        and entry.status == "scored"
        and entry.run.text.get("family") == "llm-dense"
    ]
    by: dict[frozenset[Ground], list[Entry]] = defaultdict(list)
    for entry in steps:
        by[grounds_of(entry)].append(entry)
    _, without = quantile(by[frozenset()])
    widths: dict[str, float] = {}
    groups: dict[str, int] = {}
    for ground in SAID:
        if ground == "parameters":
            continue
        groups[ground], within = quantile(by[frozenset((ground,))])
        if groups[ground] >= FEWEST:
            widths[ground] = sqrt(max(within**2 - without**2, 0.0))
    text = HEAD.format(fewest=FEWEST) + "widths:\n"
    for ground, count in groups.items():
        width = widths.get(ground, max(widths.values()))
        text += f"  {ground}: {width:.3f}  # {count} groups\n"
    print(text)
    if write:
        target = data_folder("hardware_specs") / "calibration" / "doubts.yaml"
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--write" in sys.argv)
