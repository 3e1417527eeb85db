"""Looking names up: all that is unknown in a scenario is said at once, each at its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from costsim.documents import Document
from costsim.errors import CostsimError, Location, Problem, SpecError

Found = TypeVar("Found")
Path = tuple[str | int, ...]


class Lookup:
    """Collects what is wrong with a document while its names are looked up."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def attempt(self, path: Path, action: Callable[[], Found]) -> Found | None:
        """Return what `action` does, or None after noting its problems (without a line: `path`)."""
        try:
            return action()
        except CostsimError as error:
            self.problems += placed(error, self.document, path).problems
            return None

    def note(self, message: str, path: Path, hint: str | None = None, *, key: bool = False) -> None:
        """Note a problem at `path`."""
        self.problems.append(Problem(message, self.document.locate(path, key=key), hint))

    def finish(self) -> None:
        """Raise if anything was noted.

        Raises:
            SpecError: with every problem, in the order of the document.
        """
        if self.problems:
            raise SpecError(sorted(dict.fromkeys(self.problems), key=_place))


def placed(error: CostsimError, document: Document, path: Path) -> SpecError:
    """Return an error whose problems stand at `path` of a document, if they have no line."""
    where = document.locate(path)
    return SpecError([_placed(problem, where) for problem in error.problems])


def _placed(problem: Problem, where: Location) -> Problem:
    """Return a problem at `where`, unless it has a line or the place of an option already."""
    own = problem.location
    if own is None:
        return replace(problem, location=where)
    if own.line or own.file == where.file or own.file.startswith("--"):
        return problem
    return replace(problem, message=f"{own.file}: {problem.message}", location=where)


def _place(problem: Problem) -> tuple[str, int, int]:
    where = problem.location
    return (where.file, where.line, where.column) if where else ("", 0, 0)
