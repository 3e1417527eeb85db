"""How a training candidate runs, and the space that it was chosen from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from costsim.planning.strategies import Search
from costsim.training.goodput import Goodput
from costsim.training.job import Job
from costsim.training.strategy import Strategy


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One strategy of a job.

    `useful_days` is steps alone. Memory is of the fullest pipeline stage; `memory_parts_bytes`
    lists every distinct stage.
    """

    job: Job = field(repr=False)
    strategy: Strategy
    steps: int
    useful_days: float
    time_parts_s: dict[str, float]
    memory_parts_bytes: tuple[tuple[str, dict[str, float]], ...]
    sent_bytes: dict[str, float]
    goodput: Goodput

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain values, keys with their units."""
        return {
            "strategy": self.strategy.to_dict(),
            "precision": self.job.precision.name,
            "software": self.job.software.name,
            "steps": self.steps,
            "useful_days": self.useful_days,
            "time_by_part_s": self.time_parts_s,
            "memory_by_stage_bytes": [
                {"stage": stage, **parts} for stage, parts in self.memory_parts_bytes
            ],
            "sent_bytes_per_device_by_axis": self.sent_bytes,
            "goodput_ratio": self.goodput.ratio,
        }


@dataclass(frozen=True, slots=True)
class Space:
    """What a training plan adds: every strategy that was evaluated for the best's job."""

    search: Search = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return nothing: the counts are the plan's, the strategies too many."""
        return {}
