"""A plan: the best strategy for a scenario, what it costs, and what else was considered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from costsim.costs.budget import Budget
from costsim.costs.prices import PriceChoice
from costsim.hardware.systems import System
from costsim.planning.search import Search
from costsim.training.goodput import Goodput
from costsim.training.job import Job
from costsim.training.strategy import Strategy

SCHEMA_VERSION = 1

RANGED = (
    "step_time_s",
    "days",
    "device_hours",
    "cost_usd",
    "energy_kwh",
    "co2e_t",
    "mfu_ratio",
    "hfu_ratio",
    "tokens_per_s",
    "samples_per_s",
    "memory_bytes_per_device",
)
"""Quantities that carry a low-high interval; throughput is in what the workload counts."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the range that it is expected to fall in."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """One strategy with everything it costs, for the whole run.

    `days` and `device_hours` include lost time; `useful_days` is steps alone. Memory is of the
    fullest pipeline stage; `memory_parts_bytes` lists every distinct stage.
    """

    label: str
    job: Job = field(repr=False)
    strategy: Strategy
    devices: int
    steps: int
    figures: dict[str, Interval]
    useful_days: float
    time_parts_s: dict[str, float]
    memory_parts_bytes: tuple[tuple[str, dict[str, float]], ...]
    sent_bytes: dict[str, float]
    goodput: Goodput

    def __repr__(self) -> str:
        cost, days = self.value("cost_usd"), self.value("days")
        return (
            f"<Candidate {self.label!r}: ${cost:,.0f}, {days:.3g} days on {self.devices:,} devices>"
        )

    def value(self, quantity: str) -> float:
        """Return the central figure of a quantity of `RANGED`."""
        return self.figures[quantity].value

    def to_dict(self) -> dict[str, Any]:
        """Return the candidate as plain values, keys with their units."""
        figures = {name: self.figures[name] for name in RANGED if name in self.figures}
        return {
            "label": self.label,
            "strategy": self.strategy.to_dict(),
            "devices": self.devices,
            "steps": self.steps,
            **{name: figure.value for name, figure in figures.items()},
            "useful_days": self.useful_days,
            "low": {name: figure.low for name, figure in figures.items()},
            "high": {name: figure.high for name, figure in figures.items()},
            "time_by_part_s": self.time_parts_s,
            "memory_by_stage_bytes": [
                {"stage": stage, **parts} for stage, parts in self.memory_parts_bytes
            ],
            "sent_bytes_per_device_by_axis": self.sent_bytes,
            "goodput_ratio": self.goodput.ratio,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer to a scenario. `candidates` holds the best, the Pareto set and the compared."""

    name: str
    scenario: dict[str, Any]
    job: Job
    system: System
    best: Candidate
    candidates: tuple[Candidate, ...]
    budget: Budget
    price: PriceChoice
    search: Search = field(repr=False)
    notes: tuple[str, ...] = ()
    sources: dict[str, str] = field(default_factory=dict[str, str])

    def __repr__(self) -> str:
        return f"<Plan {self.name!r}: {len(self.candidates)} candidates, best {self.best!r}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values: versioned, units in keys, equal for equal input."""
        return {
            "schema_version": SCHEMA_VERSION,
            "scenario": self.scenario,
            "best": self.best.to_dict(),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "budget": self.budget.to_dict(),
            "searched": self.search.searched,
            "feasible": len(self.search.order),
            "rejected": self.search.rejected,
            "notes": list(self.notes),
            "sources": self.sources,
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON text with sorted keys."""
        import json

        return json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False)

    def _repr_html_(self) -> str:
        from costsim.reporting import render
        from costsim.reporting.plan_report import plan_report

        return render(plan_report(self), "html")
