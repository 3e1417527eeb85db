"""YAML text to nodes: values by the rules of YAML 1.2, each with its line and column.

Built on the events of the C parser. PyYAML's own composer and constructor follow YAML 1.1 (`no`
is false, `1e9` is text), let the last of two equal keys win, overflow the stack on deep nesting,
and expand a few anchors to billions of values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import yaml

from costsim.errors import Location, Problem, SpecError

MAX_DEPTH = 64  # deeper than any spec; yaml's own C composer overflows the stack on deep nesting
MAX_NODES = 500_000  # counted after aliases: a few anchors can stand for billions of values

_TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep"
_TAG = "tag:yaml.org,2002:"

# The core schema of YAML 1.2 (section 10.3.2); PyYAML follows version 1.1.
_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")
_BASED = re.compile(r"0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@dataclass(slots=True)
class Node:
    """A value, where it begins, and its children by key (with the key's place) or index."""

    value: Any
    line: int
    column: int
    children: dict[str | int, tuple[int, int, Node]]
    size: int = 1
    height: int = 0


class DuplicateKeyError(SpecError):
    """A mapping has a key twice; the problems say where both stand."""


def compose(text: str, file: str) -> Node:
    """Return the one document in `text`; `file` is how errors call it.

    Raises:
        SpecError: if it does not parse or repeats a key, with line and column.
    """
    bad = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if bad:  # the C parser would give no place for it
        start = bad.start()
        column = start - text.rfind("\n", 0, start)
        location = Location(file, text.count("\n", 0, start) + 1, column)
        raise SpecError("not valid YAML: holds a control character", location=location)
    return _Composer(text, file).document()


class _Composer:
    """Events of the C parser in, nodes with values and places out."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.events: Iterator[Any] = cast(Any, yaml).parse(text, Loader=yaml.CSafeLoader)
        self.anchors: dict[str, Node | None] = {}  # None while the value is still open
        self.duplicates: list[Problem] = []

    def document(self) -> Node:
        try:
            next(self.events)  # stream start
            if isinstance(next(self.events), yaml.StreamEndEvent):
                raise SpecError("holds only comments", location=Location(self.file))
            root = self.node(next(self.events), 0)
            next(self.events)  # document end
            after = next(self.events)
            if not isinstance(after, yaml.StreamEndEvent):
                raise self.error(after, "a second document begins", "keep one document a file")
        except yaml.YAMLError as error:
            raise self.syntax_error(error) from None
        if self.duplicates:
            raise DuplicateKeyError(self.duplicates)
        return root

    def node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self.aliased(event)
        if depth > MAX_DEPTH:
            raise self.error(event, _TOO_DEEP)
        anchor, node = event.anchor, Node(None, *_place(event), {})
        if anchor:
            self.anchors[anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node.value = self.scalar(event)
        elif event.tag not in (None, "!", _TAG + "map", _TAG + "seq"):
            raise self.error(event, f"the tag `{event.tag}` is not supported")
        elif isinstance(event, yaml.SequenceStartEvent):
            values: list[Any] = []
            node.value = values
            while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
                child = self.node(event, depth + 1)
                self.adopt(event, node, len(values), child)
                values.append(child.value)
        else:
            mapping: dict[str | int, Any] = {}
            node.value = mapping
            while not isinstance(event := next(self.events), yaml.MappingEndEvent):
                key = self.key(event)
                child = self.node(next(self.events), depth + 1)
                if key in mapping:
                    first = f"it stands on line {node.children[key][0]} already"
                    at = Location(self.file, *_place(event))
                    self.duplicates.append(Problem(f"duplicate key `{key}`", at, first))
                    continue
                self.adopt(event, node, key, child)
                mapping[key] = child.value
        if anchor:
            self.anchors[anchor] = node
        return node

    def adopt(self, event: Any, parent: Node, step: str | int, child: Node) -> None:
        parent.children[step] = (*_place(event), child)
        parent.size += child.size
        parent.height = max(parent.height, child.height + 1)
        if parent.size > MAX_NODES or parent.height > MAX_DEPTH:
            raise self.error(event, "is too large once its aliases are expanded")

    def aliased(self, event: Any) -> Node:
        if event.anchor not in self.anchors:
            raise self.error(event, f"no `&{event.anchor}` stands before `*{event.anchor}`")
        node = self.anchors[event.anchor]
        if node is None:
            raise self.error(event, f"`*{event.anchor}` stands inside its own definition")
        return node

    def key(self, event: Any) -> str | int:
        key = self.scalar(event) if isinstance(event, yaml.ScalarEvent) else None
        if not isinstance(key, str | int):
            raise self.error(event, "a key must be a word or a whole number")
        return key

    def scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.tag in ("!", _TAG + "str") or (event.tag is None and not event.implicit[0]):
            return text
        if event.tag is not None:
            raise self.error(event, f"the tag `{event.tag}` is not supported")
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text[0] not in "+-.0123456789":
            return text
        if _INTEGER.fullmatch(text):
            return int(text)
        if _BASED.fullmatch(text):
            return int(text, 0)
        return float(text) if _FLOAT.fullmatch(text) else text

    def error(self, event: Any, message: str, hint: str | None = None) -> SpecError:
        return SpecError(message, location=Location(self.file, *_place(event)), hint=hint)

    def syntax_error(self, error: yaml.YAMLError) -> SpecError:
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            mark = error.problem_mark
            location = Location(self.file, mark.line + 1, mark.column + 1)
            if "nesting depth" in str(error.problem):  # libyaml reads ahead to a limit of its own
                return SpecError(_TOO_DEEP, location=location)
            begun = error.context_mark
            context = f" {error.context}" if error.context else ""
            if begun and begun.line != mark.line:
                context += f" that begins on line {begun.line + 1}"
            return SpecError(
                f"not valid YAML: {error.problem}{context}",
                location=location,
                hint=self.syntax_hint(mark.line, str(error.problem)),
            )
        return SpecError(f"not valid YAML: {error}", location=Location(self.file))

    def syntax_hint(self, line: int, problem: str) -> str | None:
        if any(re.match(r" *\t", text) for text in self.text.splitlines()[line : line + 1]):
            return "indent with spaces, not tabs"
        if problem.startswith("did not find expected ',' or"):
            return "close the bracket, or put a comma before the next value"
        if problem.startswith("mapping values"):
            return "put text that contains `: ` in quotes"
        return None


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
