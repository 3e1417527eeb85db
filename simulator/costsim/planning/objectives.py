"""What makes one way better than another: the table of objectives, and how several are weighed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from costsim.errors import SpecError, suggestion
from costsim.planning.plans import Candidate

ALIKE_RATIO = 0.01
"""How far ways may lie apart and count as equal, where a further objective decides between them:
well inside of what any estimate errs."""

_GENERATES = ("inference", "job")


@dataclass(frozen=True, slots=True)
class Objective:
    """One thing to have least of.

    Attributes:
        figure: of candidates, by its name in JSON.
        says: what it is, in a few words.
        sure: whether its P90 counts instead of its central value.
        kinds: of workloads that have it; empty = all.
    """

    figure: str
    says: str
    sure: bool = False
    kinds: tuple[str, ...] = ()

    def of(self, candidate: Candidate[Any]) -> float:
        """Return what a candidate has of it."""
        if self.figure == "devices":
            return float(candidate.devices)
        figure = candidate.figures[self.figure]
        return figure.quantile(0.9) if self.sure else figure.value


OBJECTIVES: Mapping[str, Objective] = {
    "cost": Objective("cost_usd", "dollars"),
    "cost_p90": Objective("cost_usd", "dollars at their P90", sure=True),
    "time": Objective("days", "wall time", kinds=("training",)),
    "time_p90": Objective("days", "wall time at its P90", sure=True, kinds=("training",)),
    "energy": Objective("energy_kwh", "energy"),
    "carbon": Objective("co2e_t", "emissions"),
    "devices": Objective("devices", "devices"),
    "memory": Objective("memory_bytes_per_device", "memory of a device", kinds=("training",)),
    "tpot": Objective("tpot_median_s", "time of a further token", kinds=_GENERATES),
    "ttft": Objective("ttft_median_s", "time to the first token", kinds=_GENERATES),
    "latency": Objective("latency_median_s", "time to a result", kinds=("forward",)),
}


@dataclass(frozen=True, slots=True)
class Goal:
    """What a scenario asks to have least of.

    Attributes:
        names: of `OBJECTIVES`: the first decides, and each further one between ways that are alike
            in those before it.
        weights: of the names, where all count at once: what is least is the product of the figures,
            each to the power of its weight, so that units do not matter.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...] = ()

    def ranked(self, ways: Sequence[Candidate[Any]]) -> list[int]:
        """Return the order of candidates, the best first."""
        figures = [[OBJECTIVES[name].of(way) for name in self.names] for way in ways]
        if self.weights:
            scores = [
                sum(w * math.log(max(v, 1e-300)) for w, v in zip(self.weights, row, strict=True))
                for row in figures
            ]
            return sorted(range(len(ways)), key=lambda index: (scores[index], ways[index].label))
        order = sorted(range(len(ways)), key=lambda index: (figures[index], ways[index].label))
        left = order
        for place in range(len(self.names)):
            least = min(figures[index][place] for index in left)
            left = [i for i in left if figures[i][place] <= least * (1 + ALIKE_RATIO)]
        best = min(left, key=lambda index: (figures[index][::-1], ways[index].label))
        return [best, *(index for index in order if index != best)]

    def front(self, ways: Sequence[Candidate[Any]]) -> list[int]:
        """Return which candidates no other one equals or beats in every objective."""
        figures = [tuple(OBJECTIVES[name].of(way) for name in self.names) for way in ways]
        return [
            index
            for index, own in enumerate(figures)
            if not any(
                other != own and all(a <= b for a, b in zip(other, own, strict=True))
                for other in figures
            )
            and own not in figures[:index]
        ]

    def says(self) -> str:
        """Return the goal in words."""
        if self.weights:
            parts = zip(self.names, self.weights, strict=True)
            return "the product of " + ", ".join(
                OBJECTIVES[name].says + (f" to the power of {weight:g}" if weight != 1 else "")
                for name, weight in parts
            )
        return ", then ".join(OBJECTIVES[name].says for name in self.names)


Stated: TypeAlias = "str | Sequence[str] | Mapping[str, float]"
"""A goal as scenarios write it: a name, names in order, or names with weights."""


def goal_of(stated: Stated, kind: str) -> Goal:
    """Return a goal as a scenario of a kind of workload states it.

    Raises:
        SpecError: for a name that is unknown, or of which such a workload has nothing.
    """
    names = (stated,) if isinstance(stated, str) else tuple(stated)
    known = [n for n, one in OBJECTIVES.items() if not one.kinds or kind in one.kinds]
    wrong = [name for name in names if name not in known]
    if wrong:
        raise SpecError(
            f"`{wrong[0]}` is no objective of a workload of kind `{kind}`",
            hint=suggestion(wrong[0], known),
        )
    weights = tuple(stated.values()) if isinstance(stated, Mapping) else ()
    return Goal(names, weights)
