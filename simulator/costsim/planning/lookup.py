"""Looking names up: all that is unknown in a scenario is said at once, each at its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from costsim.documents import Document, placed
from costsim.errors import CostsimError, Problem, SpecError

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


def _place(problem: Problem) -> tuple[str, int, int]:
    where = problem.location
    return (where.file, where.line, where.column) if where else ("", 0, 0)
