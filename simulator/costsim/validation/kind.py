"""A kind of rows: from a row to a case, from cases to predictions, from those to figures.

The one way that every row goes. A kind says how each step is done; `outcomes` and
`costsim.validation.pipeline` do what is the same for all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from costsim.errors import CostsimError
from costsim.training.overlay import Overlay
from costsim.validation.runs import Run

C = TypeVar("C")
F = TypeVar("F")
_LOG = logging.getLogger(__name__)
_TOLD = 100  # rows between two words on how far it is


@dataclass(frozen=True, slots=True)
class Context:
    """What rows of a file share: where paths in them start, and constants of a calibration."""

    folder: Path = field(default_factory=Path)
    overlay: Overlay | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity of a row: predicted between low and high, or None and the reason why not.

    `reason` of a prediction says what was assumed where the row is silent.
    """

    quantity: str
    predicted: float | None
    low: float | None = None
    high: float | None = None
    measured: float | None = None
    reason: str = ""

    def scaled(self, factor: float) -> Figure:
        """Return the same in another unit; what was measured is in it already."""
        low, high = (None if x is None else x * factor for x in (self.low, self.high))
        predicted = None if self.predicted is None else self.predicted * factor
        return Figure(self.quantity, predicted, low, high, self.measured, self.reason)


Cases: TypeAlias = Callable[[Sequence[Run], Context], Sequence[C | str]]


@dataclass(frozen=True, slots=True)
class Kind(Generic[C, F]):
    """How one kind of rows is predicted.

    Attributes:
        name: of the kind.
        format: name of the format of files (`costsim.validation.formats`) that its rows stand in.
        takes: whether a row of that format is of this kind; the first kind that takes it has it.
        cases: rows to what is predicted of them, or why nothing can be.
        predict: cases to predictions, one each, those that have much in common together.
        figures: a prediction to one figure a quantity.
        measured: what a row measured, by quantity, as far as its cells alone tell.
        default: the quantity of a row that measured none and cannot be predicted.
    """

    name: str
    format: str
    cases: Cases[C]
    predict: Callable[[Sequence[C], Context], Sequence[F | str]]
    figures: Callable[[Run, F], Sequence[Figure]]
    measured: Callable[[Run], Mapping[str, float]]
    default: str
    takes: Callable[[Run], bool] = lambda run: True


def each(case: Callable[[Run, Context], C | str]) -> Cases[C]:
    """Return `case`, which reads one row, as a function of all rows; faulty ones are left out."""

    def one(run: Run, context: Context) -> C | str:
        try:
            return run.fault or case(run, context)
        except CostsimError as error:
            return "; ".join(problem.message for problem in error.problems)

    return lambda runs, context: [one(run, context) for run in runs]


def outcomes(
    kind: Kind[C, F], runs: Sequence[Run], context: Context | None = None
) -> list[F | str]:
    """Return for every row its prediction, or why there is none."""
    context = context or Context()
    found: list[F | str] = []
    cases: list[C] = []
    places: list[int] = []
    for index, case in enumerate(kind.cases(runs, context)):
        if index % _TOLD == 0:
            _LOG.info("%s: row %s of %s", kind.name, f"{index + 1:,}", f"{len(runs):,}")
        if isinstance(case, str):
            found.append(case)
        else:
            found.append("")
            cases.append(case)
            places.append(index)
    for index, outcome in zip(places, kind.predict(cases, context), strict=True):
        found[index] = outcome
    return found
