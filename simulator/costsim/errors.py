"""The error family: what is wrong, where, and what would be right.

An error carries every problem found in a phase, so that a file is mended in one go. How it is
printed belongs to the command line; what it says belongs here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """A place in an input file; `line` and `column` count from 1, 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return (
            f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the input: the message, its place, and a hint at what would be right."""

    message: str
    location: Location | None = None
    hint: str | None = None

    def __str__(self) -> str:
        where = f"{self.location}: " if self.location else ""
        hint = f"\nhint: {self.hint}" if self.hint else ""
        return f"{where}{self.message}{hint}"


class CostsimError(Exception):
    """Base of all errors that a user can mend; `problems` is never empty."""

    exit_code = 1

    def __init__(
        self,
        problems: str | Problem | Iterable[Problem],
        *,
        hint: str | None = None,
        location: Location | None = None,
    ) -> None:
        if isinstance(problems, str):
            problems = Problem(problems, location, hint)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SpecError(CostsimError):
    """A description (scenario, model, hardware, runs file) says something it may not say."""


class UnitError(CostsimError):
    """A quantity has no unit, an unknown unit, or the unit of another quantity."""


class UnknownNameError(CostsimError):
    """A name is in no catalog: a model, an accelerator, a system, a price, a grid, a report."""


class CatalogError(CostsimError):
    """A packaged or user-supplied catalog contradicts itself."""


class InfeasiblePlanError(CostsimError):
    """No plan satisfies the constraints; says what was needed, what there was, the nearest fix."""

    exit_code = 3


class OverBudgetError(CostsimError):
    """The best plan costs more money or time than the scenario states it may."""

    exit_code = 4


def suggestion(name: str, known: Iterable[str], listing: str | None = None) -> str:
    """Return the hint for an unknown `name`: the nearest known, else where they are listed."""
    pool = sorted(set(known))
    import difflib  # on the way of an error alone

    lowered = {candidate.lower(): candidate for candidate in pool}
    near = [
        lowered[match]
        for match in difflib.get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.5)
    ]
    near += [c for c in pool if name and name.lower() in c.lower() and c not in near][
        : 3 - len(near)
    ]
    if near:
        return "did you mean " + " or ".join(f"`{candidate}`" for candidate in near) + "?"
    if listing:
        return f"`{listing}` lists what is known"
    return "known: " + ", ".join(f"`{candidate}`" for candidate in pool)
