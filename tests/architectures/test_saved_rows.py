"""Kept activations of measured runs of the reference models: to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from architectures.memory_rows import (
    Row,
    case,
    excerpt,
    measured_saved_bytes,
    shared_rows,
)
from costsim.architectures.activations import kept_bytes


def predicted_bytes(row: Row) -> int:
    run = case(row)
    return kept_bytes(
        run.architecture, run.workload, run.execution, run.dtype, checkpoint=run.checkpoint
    )


@pytest.mark.parametrize("row", excerpt(), ids=lambda row: row["id"])
def test_excerpt(row: Row) -> None:
    assert predicted_bytes(row) == measured_saved_bytes(row)


def test_all_rows(shared: Path) -> None:
    rows = shared_rows(shared)
    wrong = {row["id"] for row in rows if predicted_bytes(row) != measured_saved_bytes(row)}
    assert len(rows) > 80
    assert not wrong


def test_parameters(shared: Path) -> None:
    for row in shared_rows(shared):
        assert case(row).architecture.parameters == int(row["n_params"])
