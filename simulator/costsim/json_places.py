"""Where the values of JSON text stand, and what in a text is too deep or too long to be read."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator

from costsim.errors import Location, Problem
from costsim.nodes import MAX_DEPTH, Node

_MAX_DIGITS = 300  # as in YAML: a number of so many is infinite
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')


class _Places:
    """Line and column, from 1, of an offset of a text."""

    def __init__(self, text: str) -> None:
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def __call__(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1


def json_nodes(text: str, file: str = "") -> tuple[Node, list[Problem]]:
    """Return the places in valid JSON text, without the values, and the keys that stand twice."""
    place = _Places(text)
    whole = Node([], 0, 0, {})
    above: list[Node] = [whole]
    keys: list[tuple[str, int, int] | None] = [None]  # of each mapping, the key that is read
    twice: list[Problem] = []
    for found in _TOKEN.finditer(text):
        token, parent, key = found[0], above[-1], keys[-1]
        if token in ":,":
            continue
        if token in "]}":
            above.pop()
            keys.pop()
            continue
        line, column = place(found.start())
        if parent.value == "{" and key is None:
            keys[-1] = (json.loads(token), line, column)
            continue
        node = Node(token[0], line, column, {})
        if key is None:
            parent.children[len(parent.children)] = (line, column, node)
        else:
            name, line, column = key
            if name in parent.children:
                first = f"it stands on line {parent.children[name][0]} already"
                twice.append(
                    Problem(f"duplicate key `{name}`", Location(file, line, column), first)
                )
            parent.children[name] = (line, column, node)
            keys[-1] = None
        if token in "[{":
            above.append(node)
            keys.append(None)
    return whole.children[0][2], twice


def excesses(text: str, file: str) -> Iterator[Problem]:
    """Yield what in JSON text is nested too deep or has too many digits, in its order."""
    place, depth = _Places(text), 0
    for found in _TOKEN.finditer(text):
        token = found[0]
        depth += (token in "[{") - (token in "]}")
        if token in "[{" and depth == MAX_DEPTH + 1:
            message = f"is nested more than {MAX_DEPTH} levels deep"
            yield Problem(message, Location(file, *place(found.start())))
        elif token[0] in "-0123456789" and len(token) > _MAX_DIGITS:
            message = f"a number has more than {_MAX_DIGITS} characters"
            yield Problem(message, Location(file, *place(found.start())))
