"""Pipeline schedules: in which order stages run the passes of micro-batches."""

from __future__ import annotations

from typing import Literal, TypeAlias

Schedule: TypeAlias = Literal["1f1b", "gpipe", "zb_h1", "dualpipe"]

SCHEDULES: tuple[Schedule, ...] = ("1f1b", "gpipe", "zb_h1", "dualpipe")
"""In the order of the columns that index them; 1F1B is interleaved where a stage holds several
chunks. What each costs stands in `pipeline`, what each does in `playing`."""

SCHEDULE_NAMES: dict[Schedule, str] = {
    "1f1b": "1F1B",
    "gpipe": "GPipe",
    "zb_h1": "ZB-H1",
    "dualpipe": "DualPipe",
}
