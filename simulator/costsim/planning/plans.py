"""A plan: the answer to a study, whatever its workload, and what else was considered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from costsim.costs.budget import Budget
from costsim.costs.prices import PriceChoice, newest_day
from costsim.errors import OverBudgetError, Problem, UnknownNameError, suggestion
from costsim.hardware.systems import System
from costsim.hooks import hook
from costsim.planning.accounts import Accounts
from costsim.planning.compare import Comparison
from costsim.planning.figures import Figure
from costsim.planning.making import Made
from costsim.planning.options import Option
from costsim.units import format_duration, format_usd

SCHEMA_VERSION = 2
_DAY_S = 86_400


class Run(Protocol):
    """How a workload runs on devices: what only its own kind of candidate has."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, keys with their units."""
        ...


R = TypeVar("R", bound=Run, covariant=True)


@dataclass(frozen=True, slots=True, repr=False)
class Candidate(Generic[R]):
    """One way to do the workload, with everything it costs.

    Attributes:
        label: what the report calls it.
        option: of compression, with the model that is run.
        system: with as many devices as it takes.
        devices: that it holds at its busiest.
        figures: by the names that JSON gives them; of the whole run, or of the months of a service.
        run: how it runs: what its kind of workload says of it.
        price: of a device-hour.
        budget: what is paid for, line by line.
        made: runs that make the compressed model.
        fits: whether it may be chosen; what a scenario compares need not fit.
    """

    label: str
    option: Option
    system: System
    devices: int
    figures: Mapping[str, Figure]
    run: R
    price: PriceChoice
    budget: Budget
    made: tuple[Made, ...] = ()

    def __repr__(self) -> str:
        name = self.system.accelerator.name
        return (
            f"<Candidate {self.label!r}: {self.figures['cost_usd']} on {self.devices:,} x {name}>"
        )

    def __getattr__(self, name: str) -> float:
        """Return the central value of a figure by its name, as in `plan.best.cost_usd`.

        Raises:
            AttributeError: for what is neither an attribute nor a figure.
        """
        if name.startswith("_") or name in type(self).__slots__:
            raise AttributeError(name)
        if name not in self.figures:
            hint = suggestion(name, self.figures)
            raise AttributeError(f"this candidate has no figure `{name}`; {hint}", name=name)
        return self.figures[name].value

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self.figures]

    def value(self, quantity: str) -> float:
        """Return the central value of a figure."""
        return self.figures[quantity].value

    def to_dict(self) -> dict[str, Any]:
        """Return the candidate as plain values, keys with their units."""
        ranged = {name: one for name, one in self.figures.items() if one.low is not None}
        return {
            "label": self.label,
            "option": self.option.name,
            "recipes": list(self.option.compression.names),
            "quality_loss_ratio": self.option.loss.ratio if self.option.loss.known else None,
            "quality": self.option.loss.text,
            "system": self.system.id,
            "accelerator": self.system.accelerator.id,
            "devices": self.devices,
            **{name: figure.value for name, figure in self.figures.items()},
            "low": {name: figure.low for name, figure in ranged.items()},
            "high": {name: figure.high for name, figure in ranged.items()},
            "usd_per_device_hour": self.price.usd_per_device_hour,
            **self.run.to_dict(),
        }


D = TypeVar("D", bound=Run, covariant=True)


@dataclass(frozen=True, slots=True, repr=False)
class Plan(Generic[R, D]):
    """The answer to a scenario.

    `candidates` holds the best, what it was compared with, and the best of each other option and
    place. `details` is what its kind of workload adds: a space of strategies, a day, a mix.
    """

    name: str
    kind: str
    unit: str  # what the workload counts
    scenario: Mapping[str, Any]
    best: Candidate[R]
    candidates: tuple[Candidate[R], ...]
    details: D
    searched: int
    feasible: int
    rejected: Mapping[str, int]
    refused: tuple[tuple[str, str], ...]  # options and places that cannot be, with the reason
    comparison: Comparison | None
    notes: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict[str, str])
    accounts: Accounts = field(default_factory=Accounts)
    front: tuple[str, ...] = ()  # candidates that none beats in all objectives, by label

    def __repr__(self) -> str:
        return f"<Plan {self.name!r}: {len(self.candidates)} candidates, best {self.best!r}>"

    @property
    def budget(self) -> Budget:
        """What the best is paid for, line by line."""
        return self.best.budget

    @property
    def system(self) -> System:
        """What the best runs on."""
        return self.best.system

    @property
    def price(self) -> PriceChoice:
        """What a device-hour of the best costs."""
        return self.best.price

    @property
    def provenance(self) -> dict[str, str]:
        """The version of the tool, the day of its catalogue, and a hash of the scenario."""
        from importlib.metadata import version

        text = json.dumps(self.scenario, sort_keys=True).encode()
        return {
            "tool_version": version("costsim"),
            "catalog_date": newest_day().isoformat(),
            "input_hash": hashlib.sha256(text).hexdigest()[:16],
        }

    def explain(self, quantity: str) -> Figure:
        """Return a figure of the best candidate with its formula, terms and sources.

        Raises:
            UnknownNameError: for a quantity that the plan has no figure of.
        """
        figures = self.best.figures
        if quantity not in figures:
            raise UnknownNameError(
                f"this plan has no quantity `{quantity}`", hint=suggestion(quantity, figures)
            )
        return figures[quantity]

    def cited(self, figure: Figure) -> tuple[str, ...]:
        """Return the sources of a figure in words."""
        return tuple(self.sources.get(source, source) for source in figure.sources)

    def check_limits(self) -> None:
        """Raise where the best is over a stated budget or deadline.

        Raises:
            OverBudgetError: with each limit that it is over.
        """
        problems: list[Problem] = []
        limits = self.scenario.get("limits", {})
        sure = limits.get("probability", 0.5)
        likely = "" if sure <= 0.5 else f" with a probability of {sure:.0%}"
        cost = self.best.figures["cost_usd"].quantile(sure)
        if "cost" in limits and cost > limits["cost"]:
            over = f"over {format_usd(limits['cost'])}"
            problems.append(Problem(f"the best plan costs {format_usd(cost)}{likely}, {over}"))
        days = self.best.figures.get("days")
        taken_s = days.quantile(sure) * _DAY_S if days else 0.0
        if "deadline" in limits and taken_s > limits["deadline"]:
            over = f"over the deadline of {format_duration(limits['deadline'])}"
            taken = f"the best plan takes {format_duration(taken_s)}{likely}"
            problems.append(Problem(f"{taken}, {over}"))
        if problems:
            raise OverBudgetError(problems)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values: versioned, units in keys, equal for equal input."""
        return {
            "schema_version": SCHEMA_VERSION,
            **self.provenance,
            "scenario": dict(self.scenario),
            "workload": self.kind,
            "unit": self.unit,
            "best": self.best.to_dict(),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "budget": self.budget.to_dict(),
            **self.accounts.to_dict(),
            "searched": self.searched,
            "feasible": self.feasible,
            "rejected": dict(self.rejected),
            "refused": [{"option": option, "reason": why} for option, why in self.refused],
            "front": list(self.front),
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
            **self.details.to_dict(),
            "notes": list(self.notes),
            "sources": dict(self.sources),
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON text with sorted keys."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False)

    def rows(self) -> list[dict[str, Any]]:
        """Return the candidates as rows of plain values, columns named with their units."""
        kept = ("label", "option", "system", "accelerator", "devices", "usd_per_device_hour")
        found: list[dict[str, Any]] = []
        for candidate in self.candidates:
            row = {name: value for name, value in candidate.to_dict().items() if name in kept}
            row["best"] = candidate is self.best
            for name, one in candidate.figures.items():
                row[name] = one.value
                if one.low is not None:
                    row |= {f"{name}_low": one.low, f"{name}_high": one.high}
            found.append(row)
        return found

    def to_pandas(self) -> Any:
        """Return the candidates as a pandas data frame, a row each; needs pandas."""
        import pandas

        return pandas.DataFrame(self.rows())

    def to_polars(self) -> Any:
        """Return the candidates as a polars data frame, a row each; needs polars."""
        from importlib import import_module

        polars: Any = import_module("polars")  # an extra that nothing else of this package asks
        return polars.DataFrame(self.rows(), infer_schema_length=None)

    def _repr_html_(self) -> str:
        return hook("plan_html")(self)
