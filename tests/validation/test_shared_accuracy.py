"""Every shared file of measured runs, scored against the bounds of its kinds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from costsim.validation.score import Validation, summarize, validate
from validation.accuracy import BOUNDS, TRAINING, Bound

FILES = sorted({bound.file for bound in BOUNDS} | {"media_runs.csv"})


@cache
def scored(path: Path) -> Validation:
    return validate(path)


@pytest.mark.parametrize("name", FILES)
def test_every_shared_file_reads_without_complaint(shared: Path, name: str) -> None:
    found = scored(shared / "validation" / name)
    assert not found.problems
    assert not found.warnings
    assert {entry.run.id for entry in found.entries}


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: f"{bound.file}: {bound.kind}")
def test_predictions_are_as_near_as_promised(shared: Path, bound: Bound) -> None:
    found = [e for e in scored(shared / "validation" / bound.file).entries if bound.of(e)]
    part = summarize(found)
    assert part.n >= 20
    assert part.predicted >= bound.predicted * len(found)
    assert part.median_abs_error is not None
    assert part.p90_abs_error is not None
    assert part.interval_coverage is not None
    assert part.median_abs_error <= bound.median
    assert part.p90_abs_error <= bound.p90
    assert bound.inside[0] <= part.interval_coverage <= bound.inside[1]


def test_shared_runs_of_assumed_shapes(shared: Path) -> None:
    entries = scored(shared / "validation" / TRAINING).entries
    steps = [e for e in entries if e.quantity == "step_time_s" and "a shape usual" in e.reason]
    part = summarize(steps)
    assert part.n >= 8
    assert part.median_abs_error is not None
    assert part.median_abs_error <= 0.25


def test_runs_that_ran_out_of_memory_are_called_so(shared: Path) -> None:
    called = [
        "out of memory" in entry.reason
        for entry in scored(shared / "validation" / TRAINING).entries
        if "OUT OF MEMORY" in entry.run.text.get("notes", "")
        and entry.quantity == "memory_gb_per_gpu"
    ]
    assert len(called) == 6
    assert sum(called) >= 5  # the sixth ran with as much in the row beside it
