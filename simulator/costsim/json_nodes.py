"""JSON text to nodes: tokens with their lines and columns, of any depth that `json` reads.

`json` tells nothing of places, and YAML's reader refuses some JSON: lone surrogates, deep nesting.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right

from costsim.errors import Location, Problem, SpecError
from costsim.nodes import DuplicateKeyError, Node

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_LONGEST_NUMBER = 4_300  # digits that Python reads
MAX_DEPTH = 900  # that `json` reads before its recursion ends


def compose_json(text: str, file: str) -> Node:
    """Return the value in valid JSON text as nodes; keys come with their places.

    Raises:
        DuplicateKeyError: if a mapping has a key twice, with both places.
    """
    lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(offset: int) -> tuple[int, int]:
        line = bisect_right(lines, offset)
        return line, offset - lines[line - 1] + 1

    root = Node(None, 1, 1, {})
    duplicates: list[Problem] = []
    open_: list[Node] = [root]
    # Of every open value: the key that the next one stands under, with its place.
    keys: list[tuple[str | int, tuple[int, int]] | None] = [None]
    maps = [False]
    for match in _TOKEN.finditer(text):
        token, at = match[0], place(match.start())
        if token in "}]":
            open_.pop()
            keys.pop()
            maps.pop()
        elif token == ",":
            keys[-1] = None
        elif token == ":":
            continue
        elif maps[-1] and keys[-1] is None:
            keys[-1] = str(json.loads(token)), at
        else:
            parent, key = open_[-1], keys[-1]
            node = Node(token, *at, {})
            step, before = key or (len(parent.children), at)
            if step in parent.children:
                first = f"it stands on line {parent.children[step][0]} already"
                where = Location(file, *before)
                duplicates.append(Problem(f"duplicate key `{step}`", where, first))
            parent.children[step] = (*before, node)
            if token in "{[":
                open_.append(node)
                keys.append(None)
                maps.append(token == "{")
    if duplicates:
        raise DuplicateKeyError(duplicates)
    return root.children[0][2] if root.children else root


def unreadable(text: str, file: str) -> SpecError:
    """Return the error of JSON that is nested too deep, or has a number of too many digits."""
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        depth += (token in "{[") - (token in "}]")
        if depth > MAX_DEPTH or (len(token) > _LONGEST_NUMBER and token[0] != '"'):
            what = "nested too deep" if depth > MAX_DEPTH else "a number of too many digits"
            line = text.count("\n", 0, match.start()) + 1
            column = match.start() - text.rfind("\n", 0, match.start())
            return SpecError(f"not valid JSON: {what}", location=Location(file, line, column))
    return SpecError(
        "not valid JSON: nested too deep or a number too long", location=Location(file)
    )
