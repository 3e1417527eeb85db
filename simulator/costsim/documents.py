"""YAML and JSON documents that know the line and column of every value.

YAML is read by the rules of version 1.2 (see `costsim.nodes`); a key given twice is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from costsim.errors import CostsimError, Location, Problem, SpecError
from costsim.json_nodes import compose_json, unreadable
from costsim.nodes import Node, compose
from costsim.paths import is_folder

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")

Steps = tuple[str | int, ...]

MAX_BYTES = 2_000_000  # a spec is kilobytes; this much still parses in about two seconds
MAX_JSON_BYTES = 8_000_000  # a release may name every module that it quantizes
_MAX_PLACED = 1_000_000  # bytes of JSON whose places are still looked up


@dataclass(frozen=True, slots=True)
class Document:
    """The value of a file, and where each part of it stands in the file."""

    value: Any
    file: str
    text: str = field(default="", repr=False)
    _root: Node | None = field(default=None, repr=False)
    _set_by: Mapping[Steps, str] = field(default_factory=dict[Steps, str], repr=False)

    def steps(self, path: Sequence[str | int]) -> Steps:
        """Return those steps of `path` that the document has.

        A validator's path also names the members of unions that it tried.
        """
        return _existing(self.value, tuple(path))

    def locate(self, path: Sequence[str | int] = (), *, key: bool = False) -> Location:
        """Return where the value at `path` begins (or its key); if absent, its nearest parent."""
        steps = self.steps(path)
        for length in range(1, len(steps) + 1):
            if steps[:length] in self._set_by:
                return Location(self._set_by[steps[:length]])
        node = self._root or _json_positions(self.text)
        if node is None:
            return Location(self.file)
        line, column = node.line, node.column
        for step in steps:
            if step not in node.children:
                break
            key_line, key_column, node = node.children[step]
            line, column = (key_line, key_column) if key else (node.line, node.column)
        return Location(self.file, line, column)

    def part(self, key: str) -> Document:
        """Return what stands at `key` of a mapping as a document, its places those of the file."""
        node = self._root or _json_positions(self.text)
        child = node.children.get(key) if node else None
        own = {path[1:]: source for path, source in self._set_by.items() if path[:1] == (key,)}
        return Document(self.value[key], self.file, _root=child[2] if child else None, _set_by=own)

    def with_value(self, path: Sequence[str], value: Any, source: str) -> Document:
        """Return the document with `value` at `path`; errors about it name `source` as its place.

        Raises:
            SpecError: if `path` leads into something that is not a mapping.
        """
        try:
            changed = _with(self.value, list(path), value)
        except KeyError:
            message = f"`{'.'.join(path)}` leads into a value, not a mapping"
            raise SpecError(message, location=Location(source)) from None
        return replace(self, value=changed, _set_by={**self._set_by, tuple(path): source})


def _with(value: Any, path: list[str], new: Any) -> dict[str, Any]:
    """Return a copy of the mapping `value` with `new` at `path`."""
    step, *rest = path
    if not isinstance(value, dict):
        raise KeyError(step)
    mapping = cast("dict[str, Any]", value)
    return {**mapping, step: _with(mapping.get(step, {}), rest, new) if rest else new}


def _existing(value: Any, path: Steps) -> Steps:
    """Return as many of the steps of `path` as can be followed into `value`."""
    if not path or not isinstance(value, dict | list):
        return ()
    step, rest = path[0], path[1:]
    taken: Steps = ()
    children = cast("dict[str | int, Any] | list[Any]", value)
    if step in children if isinstance(children, dict) else _is_index(step, children):
        taken = (step, *_existing(cast(Any, children)[step], rest))
        if len(taken) == len(path):
            return taken
    skipped = _existing(value, rest)
    return taken if len(taken) >= len(skipped) else skipped


def _is_index(step: str | int, values: list[Any]) -> bool:
    return isinstance(step, int) and 0 <= step < len(values)


def load_document(path: str | Path) -> Document:
    """Read the YAML or JSON (by suffix) file at `path`.

    Raises:
        SpecError: if it cannot be read, is too large, empty, or does not parse.
    """
    path, file = Path(path), str(path)
    most = MAX_JSON_BYTES if path.suffix.lower() == ".json" else MAX_BYTES
    try:
        with path.open("rb") as handle:
            raw = handle.read(most + 1)
    except ValueError:  # a NUL in the name
        raise SpecError("no such file", location=Location(file)) from None
    except FileNotFoundError:
        siblings = [entry.name for entry in path.parent.glob("*")] if is_folder(path.parent) else []
        near = get_close_matches(path.name, siblings, n=1)
        hint = f"did you mean `{path.parent / near[0]}`?" if near else None
        raise SpecError("no such file", location=Location(file), hint=hint) from None
    except IsADirectoryError:
        raise SpecError("is a directory, not a file", location=Location(file)) from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", location=Location(file)) from None
    if len(raw) > most:
        limit = f"{most / 1e6:g} MB"
        raise SpecError(
            f"is larger than {limit}", location=Location(file), hint="a description takes kilobytes"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise SpecError("is not UTF-8 text", location=Location(file, line, column)) from None
    return read_document(text, file, json_syntax=path.suffix.lower() == ".json")


def read_document(text: str, file: str = "<text>", *, json_syntax: bool = False) -> Document:
    """Parse `text`; `file` is how errors call it.

    Raises:
        SpecError: if it is empty or does not parse, with line and column.
    """
    if not text.strip():
        hint = "`costsim init` writes a scenario to start from"
        raise SpecError("is empty", location=Location(file, 1, 1), hint=hint)
    if json_syntax:
        return Document(_read_json(text, file), file, text)
    root = compose(text, file)
    return Document(root.value, file, text, root)


def parse_as(document: Document, model: type[Model]) -> Model:
    """Return `document` as a `model`, which forbids what it does not know.

    Raises:
        SpecError: with every problem that pydantic found, each at its line and column.
    """
    from pydantic import ValidationError  # only what reads a spec pays for pydantic

    from costsim.spec_problems import problems_of

    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        raise SpecError(problems_of(error, document, model)) from None


def placed(error: CostsimError, document: Document, path: Steps) -> SpecError:
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


def _read_json(text: str, file: str) -> Any:
    repeated: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            names = [name for name, _ in pairs]
            repeated.extend(name for name in mapping if names.count(name) > 1)
        return mapping

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        location = Location(file, error.lineno, error.colno)
        raise SpecError(
            f"not valid JSON: {error.msg[0].lower()}{error.msg[1:]}", location=location
        ) from None
    except (RecursionError, ValueError):  # nesting, or an integer of thousands of digits
        raise unreadable(text, file) from None
    if repeated:
        compose_json(text, file)  # knows the lines
    return value


@lru_cache(maxsize=1)
def _json_positions(text: str) -> Node | None:
    """Return the places in JSON text that is valid; None of text too long to look them up."""
    return None if not text or len(text) > _MAX_PLACED else compose_json(text, "")
