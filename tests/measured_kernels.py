"""The excerpt of measured kernels in tests/data, by device and number format."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

FILE = Path(__file__).resolve().parent / "data" / "measured_kernels.csv"


class Rows(dict[str, npt.NDArray[np.float64]]):
    """Columns of one device and number format."""

    @property
    def time_s(self) -> npt.NDArray[np.float64]:
        return self["time_us"] * 1e-6


def excerpt(kernel: str) -> Iterator[tuple[str, str, Rows]]:
    """Yield (accelerator, number format, columns) of the measured shapes of `kernel`."""
    with FILE.open(newline="") as handle:
        lines = [line for line in handle if not line.startswith("#")]
    rows = [row for row in csv.DictReader(lines) if row["kernel"] == kernel]
    for accelerator, dtype in sorted({(row["accelerator"], row["format"]) for row in rows}):
        part = [r for r in rows if (r["accelerator"], r["format"]) == (accelerator, dtype)]
        columns = [name for name in part[0] if part[0][name] and name.islower()]
        numbers = [name for name in columns if name not in ("kernel", "accelerator", "format")]
        yield (
            accelerator,
            dtype,
            Rows({name: np.array([float(row[name]) for row in part]) for name in numbers}),
        )


def errors_of(ratios: Iterable[npt.NDArray[np.float64]]) -> float:
    """Return the median of |predicted/measured - 1|."""
    return float(np.median(np.abs(np.concatenate(list(ratios)) - 1)))
