"""Measured rows of train_memory_oracle.csv as cases: an excerpt everywhere, all where at hand."""

from __future__ import annotations

import csv
from pathlib import Path

from architectures.eager_reference import Case

EXCERPT = Path(__file__).resolve().parent.parent / "data" / "train_memory_excerpt.csv"

Row = dict[str, str]


def excerpt() -> list[Row]:
    """Return the rows that travel with the tests."""
    return read(EXCERPT)


def shared_rows(shared: Path) -> list[Row]:
    """Return all measured rows."""
    return read(shared / "validation" / "oracle" / "train_memory_oracle.csv")


def read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        return [row for row in rows if row["family"] in ("llama", "gpt2") and not row.get("error")]


def case(row: Row) -> Case:
    """Return the configuration that `row` was measured with."""
    return Case(
        family=row["family"],
        attention=row["attn"],
        precision=row["dtype"],
        checkpoint=row["ckpt"] == "1",
        dropout=float(row["dropout"]),
        layers=int(row["layers"]),
        hidden=int(row["hidden"]),
        inner=int(row["inter"]),
        heads=int(row["heads"]),
        kv_heads=int(row["kv_heads"]),
        vocabulary=int(row["vocab"]),
        sequence=int(row["seq"]),
        batch=int(row["batch"]),
    )


def measured_saved_bytes(row: Row) -> int:
    """Return the bytes that the backward pass finds.

    The hooks miss what checkpoints hold, so there the log of live storages is read. That log leaves
    out ids and targets (8 bytes each a token), and has the loss itself (4 bytes), which nothing
    keeps for the backward pass.
    """
    if row["ckpt"] == "0":
        return int(row["saved_storage_bytes"])
    tokens = int(row["seq"]) * int(row["batch"])
    return int(row["live_after_fwd_bytes"]) + 16 * tokens - 4
