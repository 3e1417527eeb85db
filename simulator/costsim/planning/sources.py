"""Where a scenario comes from, and which files it may name.

A scenario that someone sends may name any file, and an error about that file would print lines of
it. So what a scenario file names lies in its own folder, unless whoever plans it says otherwise;
names given on the command line or in Python are the user's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from costsim.documents import Document
from costsim.errors import Problem, SpecError
from costsim.paths import exists
from costsim.resources import data_folder

Steps = tuple[str | int, ...]

_FOLDERS = ("starters", "published")  # of packaged scenarios that go by name too


def packaged_scenarios() -> tuple[str, ...]:
    """Return the names of the scenarios that costsim comes with, those in folders with these."""
    folder = data_folder("scenarios")
    own = sorted(path.stem for path in folder.glob("*.yaml"))
    inner = sorted(f"{name}/{p.stem}" for name in _FOLDERS for p in (folder / name).glob("*.yaml"))
    return (*own, *inner)


def scenario_path(source: str | Path) -> Path:
    """Return the file of a scenario: a path, or the name of one that costsim comes with."""
    path = Path(source)
    if path.as_posix() not in packaged_scenarios() or exists(path):
        return path
    return data_folder("scenarios") / f"{path.as_posix()}.yaml"


def check_named_files(document: Document, folder: Path) -> None:
    """Check that every file which a scenario names lies in `folder`, links followed.

    Args:
        document: of the scenario; what the command line set in it is not checked.
        folder: of the scenario's file.

    Raises:
        SpecError: with each that does not, at its place; nothing of it is read.
    """
    home = folder.resolve()
    problems: list[Problem] = []
    for steps, text in strings(document.value):
        where = document.locate(steps)
        if where.file.startswith("--") or not _is_outside(text, folder, home):
            continue
        problems.append(
            Problem(
                f"`{'.'.join(map(str, steps))}` names a file outside the scenario's folder",
                where,
                "move it into the folder, or plan with `--allow-outside`",
            )
        )
    if problems:
        raise SpecError(problems)


def _is_outside(text: str, folder: Path, home: Path) -> bool:
    """Whether a string is the path of something that is there, outside `home`."""
    if len(text) > 4096 or "\0" in text or not text.strip():
        return False
    try:
        path = (folder / text).resolve()
        return path.exists() and not path.is_relative_to(home)
    except (OSError, RuntimeError, ValueError):
        return False


def strings(value: Any, steps: Steps = ()) -> Iterator[tuple[Steps, str]]:
    """Yield every string of a document with the steps that lead to it."""
    if isinstance(value, str):
        yield steps, value
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield from strings(inner, (*steps, key))
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[Any]", value)):
            yield from strings(inner, (*steps, index))
