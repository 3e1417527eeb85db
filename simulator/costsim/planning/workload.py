"""What planning asks of a kind of workload, and the table of kinds.

A new kind is a module with a class that has these methods, and a line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar, Protocol, Union

from costsim.architectures.architecture import Architecture
from costsim.documents import Document
from costsim.errors import InfeasiblePlanError
from costsim.planning.lookup import Lookup
from costsim.planning.options import Option
from costsim.planning.plans import Candidate, Run
from costsim.planning.scenario import Scenario
from costsim.planning.study import Place, Study

KINDS = {
    "training": "costsim.planning.workloads.training.workload:TrainingWorkload",
    "inference": "costsim.planning.workloads.serving.workload:ServingWorkload",
    "forward": "costsim.planning.workloads.serving.workload:ServingWorkload",
    "job": "costsim.planning.workloads.job:JobWorkload",
}
"""Kind of workload, as `workload.kind` says it -> the class that plans it."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Ways to do a workload with one option at one place, the preferred first.

    Attributes:
        ways: candidates that could be chosen; the first is the best of them.
        searched: how many are legal.
        feasible: how many of those could run.
        rejected: how many could not, by reason.
        short: whether there are fewer devices than it takes.
        space: what the workload wants to see again of the best's, such as the whole search.
    """

    ways: tuple[Candidate[Any], ...]
    searched: int
    feasible: int
    rejected: Mapping[str, int] = field(default_factory=dict[str, int])
    short: bool = False
    space: Any = None


class Workload(Protocol):
    """What planning asks of a kind of workload."""

    scenario_type: ClassVar[type[Scenario]]
    """How its scenarios are written."""
    verb: ClassVar[str]
    """What is paid for besides making a model: training, serving."""

    @property
    def unit(self) -> str:
        """What it counts: a token, a sample."""
        ...

    def candidates(self, option: Option, place: Place) -> Candidates:
        """Return the ways to do it with one option at one place; none where none keeps promises.

        Raises:
            InfeasiblePlanError: where nothing can run; says why.
        """
        ...

    def refusal(self, option: Option, errors: Sequence[InfeasiblePlanError]) -> InfeasiblePlanError:
        """Return why nothing at all can be done, and what comes nearest."""
        ...

    def conclude(
        self, best: Candidate[Any], found: Candidates, all_ways: Sequence[Candidate[Any]]
    ) -> tuple[Run, tuple[Candidate[Any], ...], tuple[str, ...]]:
        """Return details of the plan, candidates to show beside the best, and notes."""
        ...

    def sources(self, best: Candidate[Any]) -> dict[str, str]:
        """Return sources of its own, by key."""
        ...

    def amount(self, candidate: Candidate[Any]) -> float:
        """Return how many units a candidate does in all."""
        ...

    def latencies(self, candidate: Candidate[Any]) -> tuple[float, ...]:
        """Return what else than cost candidates are compared by, in seconds."""
        ...


class WorkloadType(Protocol):
    """A class of the table."""

    scenario_type: ClassVar[type[Scenario]]

    def check(self, document: Document) -> None:
        """Raise what reading the document as its scenario could not say clearly."""
        ...

    def prepare(self, scenario: Any, model: Architecture, lookup: Lookup) -> Architecture:
        """Return the model as the workload uses it, before it is compressed."""
        ...

    def __call__(self, study: Study, lookup: Lookup) -> Workload:
        """Return the workload of a study; what it names and nobody knows is noted in `lookup`."""
        ...


def workload_type(kind: str) -> WorkloadType:
    """Return the class that plans a kind of workload."""
    module, name = KINDS[kind].split(":")
    return getattr(import_module(module), name)


def scenario_schema() -> dict[str, Any]:
    """Return the JSON schema of a scenario: any of those of each kind of workload."""
    from pydantic import TypeAdapter

    types = dict.fromkeys(workload_type(kind).scenario_type for kind in KINDS)
    union: Any = Union[tuple(types)]  # noqa: UP007, of types that are only known now
    return {"title": "Scenario", **TypeAdapter(union).json_schema()}
