"""Scores: error and coverage of the entries, each group of near-identical rows once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from costsim.errors import Problem
from costsim.hardware.catalog import accelerator_ids, load_accelerator
from costsim.planning.intervals import fit_probability
from costsim.training.overlay import Overlay
from costsim.validation.entries import Entry
from costsim.validation.kind import Context
from costsim.validation.pipeline import entries_of
from costsim.validation.runs import read_runs

SCHEMA_VERSION = 1
_GIGA = 1e9
_MEMORY = "memory_gb_per_gpu"
BREAKDOWNS: dict[str, Callable[[Entry], str]] = {
    "quantity": lambda entry: entry.quantity,
    "source": lambda entry: entry.run.text.get("source_id") or entry.run.text.get("source", ""),
    "hardware": lambda entry: entry.run.text.get("accelerator_id", ""),
    "family": lambda entry: entry.run.text.get("family", ""),
}


@dataclass(frozen=True, slots=True)
class Summary:
    """Accuracy of some entries; ratios are None where nothing was scored.

    Attributes:
        n: entries both predicted and measured.
        predicted: entries with a prediction, measured or not.
        unsupported: entries without one.
        median_abs_error: of |predicted/measured − 1| over groups, of which each counts its median.
        p90_abs_error: the ninth decile of the same.
        bias: median of predicted/measured − 1 over groups; negative = predicted too fast or small.
        interval_coverage: share of groups' measurements between low and high.
    """

    n: int
    predicted: int
    unsupported: int
    median_abs_error: float | None
    p90_abs_error: float | None
    bias: float | None
    interval_coverage: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Validation:
    """All entries of a runs file, and what was wrong with some of its rows."""

    name: str
    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    @property
    def fit_brier(self) -> float | None:
        """Mean squared error of the probability that a measured peak fits a device.

        Over the capacities of the catalog from half to twice the peak; None where none is measured.
        """
        devices = map(load_accelerator, accelerator_ids())
        sizes = sorted({device.memory_usable_bytes / _GIGA for device in devices})
        errors = [
            (fit_probability(entry.low, entry.high, size) - (entry.measured <= size)) ** 2
            for entry in self.entries
            if entry.quantity == _MEMORY and entry.measured and entry.low and entry.high
            for size in sizes
            if entry.measured / 2 <= size <= 2 * entry.measured
        ]
        return float(np.mean(errors)) if errors else None

    @property
    def summary(self) -> Summary:
        """Accuracy over all entries."""
        return summarize(self.entries)

    def breakdown(self, by: str) -> dict[str, Summary]:
        """Return the accuracy by one of `BREAKDOWNS`, names in order."""
        parts: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            parts[BREAKDOWNS[by](entry)].append(entry)
        return {name: summarize(parts[name]) for name in sorted(parts)}

    def to_dict(self) -> dict[str, Any]:
        """Return the versioned JSON document."""
        return {
            "schema_version": SCHEMA_VERSION,
            "rows": [entry_dict(entry) for entry in self.entries],
            "summary": self.summary.to_dict(),
            "memory_fit_brier": self.fit_brier,
            "breakdown": {
                by: {name: part.to_dict() for name, part in self.breakdown(by).items()}
                for by in BREAKDOWNS
            },
        }


def entry_dict(entry: Entry) -> dict[str, Any]:
    """Return an entry as a row of the JSON document."""
    return {
        "id": entry.run.id,
        "quantity": entry.quantity,
        "unit": entry.unit,
        "predicted": entry.predicted,
        "low": entry.low,
        "high": entry.high,
        "measured": entry.measured,
        "status": entry.status,
        "reason": entry.reason,
    }


def validate(path: str | Path, overlay: Overlay | None = None) -> Validation:
    """Predict every row of a runs file from its configuration, and score what it measured.

    An `overlay` replaces constants of training steps by those of a calibration.

    Raises:
        SpecError: if the file cannot be read as runs at all.
    """
    file = read_runs(path)
    found = entries_of(file.runs, file.kind, Context(Path(path).parent, overlay))
    return Validation(Path(path).name, tuple(found), file.problems, file.warnings)


def summarize(entries: Sequence[Entry] | Iterable[Entry]) -> Summary:
    """Return the accuracy of `entries`."""
    entries = list(entries)
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
    covered: dict[tuple[str, str], list[bool]] = defaultdict(list)
    scored = 0
    for entry in entries:
        if entry.status != "scored" or not entry.measured:
            continue
        scored += 1
        assert entry.predicted is not None
        assert entry.low is not None
        assert entry.high is not None
        key = (entry.quantity, entry.run.group)
        ratios[key].append(entry.predicted / entry.measured)
        covered[key].append(entry.low <= entry.measured <= entry.high)
    predicted = sum(entry.predicted is not None for entry in entries)
    unsupported = len(entries) - predicted
    if not ratios:
        return Summary(scored, predicted, unsupported, None, None, None, None)
    errors = [float(np.median(np.abs(np.array(group) - 1))) for group in ratios.values()]
    signed = [float(np.median(group)) - 1 for group in ratios.values()]
    inside = [float(np.mean(group)) for group in covered.values()]
    return Summary(
        scored,
        predicted,
        unsupported,
        float(np.median(errors)),
        float(np.quantile(errors, 0.9)),
        float(np.median(signed)),
        float(np.mean(inside)),
    )
