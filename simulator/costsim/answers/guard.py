"""What someone else sends may name no file of this machine: not one is opened for it.

A scenario from a file may name files of its own folder. One that comes over a wire has no folder,
so every value that could be read as a path is refused before anything looks it up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from costsim.errors import Location, Problem, SpecError

Steps = tuple[str | int, ...]

_FILES = frozenset({"calibration", "prices", "trace", "file", "path", "folder"})
"""Keys whose only meaning is a file."""
_NAMES = frozenset({"model", "compression", "extends", "student", "draft", "base", "system"})
"""Keys of names; a separator there makes a path of the name."""
_TITLES = frozenset({"name", "note", "source"})
"""Keys of text that nothing looks up."""
_SUFFIX = re.compile(
    r"\.(ya?ml|jsonl?|csv|tsv|txt|gguf|safetensors|parquet|bin|pt|gz|toml)\b", re.IGNORECASE
)
_STARTS = re.compile(r"^(?:[/\\~]|\.{1,2}[/\\]|[A-Za-z]:[/\\]|file:)")
_LONGEST = 4096  # characters of one value
_MOST = 20_000  # values of one scenario
_DEEPEST = 40


def check_self_contained(value: Mapping[str, Any]) -> None:
    """Check that nothing in a mapping can be read as a file of this machine.

    Raises:
        SpecError: with each value that can, and where the mapping is too deep or too large.
    """
    problems: list[Problem] = []
    for count, (steps, text) in enumerate(_strings(value), 1):
        if count > _MOST:
            raise SpecError(f"more than {_MOST:,} values: send a smaller scenario")
        if _names_a_file(steps, text):
            dotted = ".".join(map(str, steps))
            problems.append(
                Problem(
                    f"`{dotted}` may name a file: what is sent here must be self-contained",
                    Location("<scenario>"),
                    "give a name of the catalogue, or the description itself as a mapping",
                )
            )
    if problems:
        raise SpecError(problems)


def check_name(text: str) -> str:
    """Return a name of a catalogue, if it cannot be read as a file of this machine.

    Raises:
        SpecError: if it can.
    """
    check_self_contained({"model": text})
    return text


def _names_a_file(steps: Steps, text: str) -> bool:
    words = [str(step) for step in steps if isinstance(step, str)]
    key = words[-1] if words else ""
    if key in _FILES or any(word in _FILES for word in words):
        return True
    if key in _TITLES and len(words) == 1:
        return False
    if "\0" in text or len(text) > _LONGEST or _SUFFIX.search(text):
        return True
    tokens = [text, *re.split(r"[=:+,\s]+", text)]
    if any(_STARTS.match(token) for token in tokens):
        return True
    named = any(word in _NAMES for word in words)
    if named and re.search(r"[/\\]", text):
        return True
    return named and any(_exists(token) for token in tokens if token)


def _exists(token: str) -> bool:
    """Whether a bare name is that of a file beside the server, which a catalogue would read."""
    try:
        return Path(token).exists()
    except (OSError, ValueError):
        return True


def _strings(value: Any, steps: Steps = ()) -> Iterator[tuple[Steps, str]]:
    """Yield every string of a value with the steps that lead to it."""
    if len(steps) > _DEEPEST:
        raise SpecError(f"deeper than {_DEEPEST} levels: send a flatter scenario")
    if isinstance(value, str):
        yield steps, value
    elif isinstance(value, Mapping):
        for key, inner in cast("Mapping[Any, Any]", value).items():
            yield from _strings(inner, (*steps, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(cast("list[Any]", value)):
            yield from _strings(inner, (*steps, index))
