"""What a backwards question is asked of, and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from costsim.planning import Plan, plan
from costsim.planning.figures import said
from costsim.planning.planner import studied
from costsim.planning.study import Source, Study
from costsim.planning.workload import Workload
from costsim.planning.workloads.training.workload import TrainingWorkload


@dataclass(frozen=True, slots=True)
class Solution:
    """The answer to a backwards question.

    Attributes:
        unknown: what was asked for, of `solve.UNKNOWNS`.
        value: of it, in `unit`.
        unit: as figures have them: tokens, samples, usd, days; "" is a count.
        settings: with which `plan` of the same scenario gives `plan`.
        plan: of the answer.
        searched: ways that were costed.
        notes: what the answer rests on, and what a little more would take.
        table: what was compared, each row a mapping of words to figures in words.
    """

    unknown: str
    value: float
    unit: str
    settings: tuple[str, ...]
    plan: Plan[Any, Any]
    searched: int
    notes: tuple[str, ...] = ()
    table: tuple[dict[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values."""
        return {
            "schema_version": 1,
            "solve_for": self.unknown,
            "value": self.value,
            "unit": self.unit,
            "settings": list(self.settings),
            "searched": self.searched,
            "notes": list(self.notes),
            "compared": list(self.table),
            "best": self.plan.best.to_dict(),
        }

    def to_text(self) -> str:
        """Return the answer in a few lines."""
        best = self.plan.best
        figures = best.figures
        lines = [
            f"{self.unknown}: {_words(self.value, self.unit)}",
            f"plan: {best.devices:,} x {best.system.accelerator.name}, {figures['days']}, "
            f"{figures['cost_usd']} ({figures['cost_usd'].interval})",
        ]
        if self.table:
            head = list(self.table[0])
            rows = [head, *([row[key] for key in head] for row in self.table)]
            widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
            lines.append("")
            lines += [
                "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows
            ]
        lines += ["", *self.notes, "", "the same plan:"]
        lines += [f"  --set '{setting}'" for setting in self.settings]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Asked:
    """A scenario with the settings that a question is asked of."""

    source: Source
    settings: tuple[str, ...]
    calibration: str | Path | None
    allow_outside: bool

    def studied(self, *more: str) -> tuple[str, Study, Workload]:
        """Return its kind, what it says, and its workload, with further settings."""
        settings = (*self.settings, *more)
        return studied(self.source, settings, self.calibration, allow_outside=self.allow_outside)

    def workload(self, *more: str) -> TrainingWorkload:
        """Return its workload, which is training, with further settings."""
        found = self.studied(*more)[2]
        assert isinstance(found, TrainingWorkload)
        return found

    def plan(self, *more: str) -> Plan[Any, Any]:
        """Return its plan with further settings."""
        settings = (*self.settings, *more)
        return plan(self.source, settings, self.calibration, allow_outside=self.allow_outside)


def _words(value: float, unit: str) -> str:
    if unit == "usd":
        return f"${value:,.2f}"
    if unit in ("tokens", "samples", "parameters"):
        return f"{value:,.0f} {unit}"
    return said(value, unit)
