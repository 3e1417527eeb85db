"""What a comparison of compressed models says: candidates, steps, break-even, the answer."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from costsim.compression.compressing import Compression
from costsim.compression.effects import Effects
from costsim.compression.quality import expected
from costsim.costs.prices import PriceChoice
from costsim.hardware import System
from costsim.planning.compression_making import Made
from costsim.planning.compression_service import Service

SCHEMA_VERSION = 1
UNITS = {"inference": "generated token", "forward": "sample", "training": "token"}
"""What a workload counts, by its kind."""
LATENCIES = {"inference": "token", "forward": "batch", "training": "step"}
"""What its latency is of."""

MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Loss:
    """The largest published loss of quality, as a ratio; unknown where nothing is on record."""

    known: bool
    ratio: float = 0.0
    text: str = ""

    @property
    def worst(self) -> float:
        """What to compare by: what is unknown may be anything."""
        return self.ratio if self.known else math.inf


@dataclass(frozen=True, slots=True)
class Candidate:
    """One option on one system: the fleet that serves it, and what it costs to make."""

    option: str
    system: System
    compression: Compression
    service: Service
    price: PriceChoice
    running_usd: float
    making_usd: float
    runs: tuple[Made, ...]
    loss: Loss
    effects: Effects
    dominated_by: str = ""

    @property
    def label(self) -> str:
        """Option and device."""
        return f"{self.option} on {self.system.accelerator.name}"

    @property
    def total_usd(self) -> float:
        """Making and running."""
        return self.making_usd + self.running_usd

    @property
    def total_range_usd(self) -> tuple[float, float]:
        """Between what 8 of 10 measured runs would cost, at the market's low and high prices."""
        price, service = self.price, self.service
        cheap = price.low_usd_per_device_hour / price.usd_per_device_hour
        dear = price.high_usd_per_device_hour / price.usd_per_device_hour
        return (
            self.total_usd * cheap * service.time_low_ratio,
            self.total_usd * dear * service.time_high_ratio,
        )

    @property
    def usd_per_mtok(self) -> float:
        """Running alone, for a million tokens or samples."""
        return self.running_usd / self.service.units * MILLION

    def to_dict(self) -> dict[str, Any]:
        """Return the candidate as plain values, keys with their units."""
        service = self.service
        return {
            "option": self.option,
            "recipes": list(self.compression.names),
            "hardware": self.system.accelerator.id,
            "fleet": service.fleet,
            "devices": service.devices,
            "hours": service.hours,
            **service.details,
            "usd_per_device_hour": self.price.usd_per_device_hour,
            "running_usd": self.running_usd,
            "making_usd": self.making_usd,
            "making_device_hours": sum(run.total_hours for run in self.runs),
            "total_usd": self.total_usd,
            "low": {"total_usd": self.total_range_usd[0]},
            "high": {"total_usd": self.total_range_usd[1]},
            "usd_per_million_units": self.usd_per_mtok,
            "quality_loss_ratio": self.loss.ratio if self.loss.known else None,
            "quality": self.loss.text,
            "dominated_by": self.dominated_by or None,
            "parameters": self.effects.after.parameters,
            "weights_bytes": self.effects.after.weights_bytes,
            "notes": list(self.effects.notes),
        }


@dataclass(frozen=True, slots=True)
class Contribution:
    """A step of the waterfall: what the total is after it, and what it changed."""

    step: str
    total_usd: float
    change_usd: float


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From how many tokens or samples on an option pays for its making, against no compression.

    `units` is None where it never does; `days` is at the scenario's traffic.
    """

    option: str
    making_usd: float
    saved_usd_per_mtok: float
    units: float | None
    days: float | None


@dataclass(frozen=True, slots=True)
class CompressionPlan:
    """The answer to a scenario that compares compressed models.

    `best` is the cheapest whose published loss of quality is within the limit, `cheapest` of all.
    """

    name: str
    scenario: dict[str, Any]
    best: Candidate
    runner_up: Candidate | None
    baseline: Candidate | None
    candidates: tuple[Candidate, ...]
    refused: tuple[tuple[str, str], ...]
    waterfall: tuple[Contribution, ...]
    cheapest: Candidate
    cheapest_waterfall: tuple[Contribution, ...]
    break_even: tuple[BreakEven, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()
    limit_usd: float | None = None
    sources: dict[str, str] = field(default_factory=dict[str, str])

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values: versioned, units in keys, equal for equal input."""
        return {
            "schema_version": SCHEMA_VERSION,
            "scenario": self.scenario,
            "unit": UNITS[self.scenario["workload"]["kind"]],
            "best": self.best.to_dict(),
            "runner_up": None if self.runner_up is None else self.runner_up.to_dict(),
            "baseline": None if self.baseline is None else self.baseline.to_dict(),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "refused": [{"option": option, "reason": why} for option, why in self.refused],
            "waterfall": [_plain(step) for step in self.waterfall],
            "cheapest": self.cheapest.to_dict(),
            "cheapest_waterfall": [_plain(step) for step in self.cheapest_waterfall],
            "break_even": [
                {
                    "option": b.option,
                    "making_usd": b.making_usd,
                    "saved_usd_per_million_units": b.saved_usd_per_mtok,
                    "units": b.units,
                    "days": b.days,
                }
                for b in self.break_even
            ],
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "sources": self.sources,
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON text with sorted keys."""
        import json

        return json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False)


def _plain(step: Contribution) -> dict[str, Any]:
    return {"step": step.step, "total_usd": step.total_usd, "change_usd": step.change_usd}


def option_name(compression: Compression) -> str:
    """Return what reports call an option: its recipes, a student by its name."""
    names = [re.sub(r"^distill:student=([^:]+).*", r"distill \1", n) for n in compression.names]
    return " + ".join(names) or "none"


def loss_of(compression: Compression) -> Loss:
    """Return the largest published change of quality; none without compression."""
    if not compression.applied:
        return Loss(True, 0.0, "unchanged")
    changes = expected(compression)
    if not changes:
        return Loss(False, text="unknown")
    worst = max(max(abs(change.low), abs(change.high)) for change in changes)
    text = "; ".join(
        f"{change.metric} {change.low:+.1%}"
        + ("" if change.low == change.high else f" to {change.high:+.1%}")
        for change in changes
    )
    return Loss(True, worst, text)
