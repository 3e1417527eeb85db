"""Options of a launch script: assignments expanded, continuation lines joined, nothing run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

_ASSIGNED = re.compile(r"^(?:export\s+|local\s+)?([A-Za-z_]\w*)=(.*)$", re.DOTALL)
_NAMED = re.compile(r"\$\{([A-Za-z_]\w*)(?:\[[@*]\])?(?::?-([^{}]*))?\}|\$([A-Za-z_]\w*)")
_MOST_CHARACTERS = 1_000_000


@dataclass(frozen=True, slots=True)
class Command:
    """Words before the options, and options with their values (`""` for a switch)."""

    words: tuple[str, ...]
    options: dict[str, str]


def read_script(text: str) -> Command:
    """Return the options of all commands of a shell script, the last one of a name winning.

    Variables are expanded where the script itself sets them; others stay as written, so that a
    reader can say that their value is not in the file. Nothing is executed.

    Raises:
        ValueError: if the text is too long, or its quotes do not close.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"longer than {_MOST_CHARACTERS:,} characters")
    variables: dict[str, str] = {}
    words: list[str] = []
    options: dict[str, str] = {}
    for statement in _statements(text):
        assigned = _ASSIGNED.match(statement)
        if assigned and not _is_command(statement, assigned):
            variables[assigned[1]] = _expanded(_unwrapped(assigned[2]), variables)
            continue
        found = shlex.split(_expanded(statement, variables), comments=True)
        if any(word.startswith("--") for word in found) or "vllm" in found:
            _collect(found, words, options)
    return Command(tuple(words), options)


def _collect(found: list[str], words: list[str], options: dict[str, str]) -> None:
    place = 0
    while place < len(found):
        word = found[place]
        place += 1
        if not re.match(r"--?[A-Za-z]", word):
            words.append(word)
            continue
        name, equals, value = word.partition("=")
        if not equals and place < len(found) and not re.match(r"--?[A-Za-z]", found[place]):
            value = found[place]
            place += 1
            more: list[str] = []  # of an option with several values
            while place < len(found) and re.fullmatch(r"[\d.]+", found[place]):
                more.append(found[place])
                place += 1
            value = " ".join([value, *more])
        options[name] = value


def _statements(text: str) -> Iterator[str]:
    """Yield statements: lines with continuations, quotes and parentheses closed."""
    held = ""
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        if not held and line.lstrip().startswith("#"):
            continue
        held = f"{held}\n{line}" if held else line
        try:
            shlex.split(held, comments=True)
        except ValueError:
            continue  # a quote is open
        bare = re.sub(r"\$\([^()]*\)", "", held)
        if bare.count("(") > bare.count(")") and _ASSIGNED.match(held.strip()):
            continue  # an array is open
        for part in re.split(r"\s*(?:&&|;)\s*(?=(?:[^\"']|\"[^\"]*\"|'[^']*')*$)", held.strip()):
            if part:
                yield part
        held = ""
    if held.strip():
        raise ValueError("a quote or parenthesis is not closed")


def _is_command(statement: str, assigned: re.Match[str]) -> bool:
    """Whether an assignment only precedes a command: `CUDA_VISIBLE_DEVICES=0 vllm serve …`."""
    value = assigned[2]
    if value.lstrip().startswith("("):
        return False
    try:
        return len(shlex.split(value, comments=True)) > 1
    except ValueError:
        return False


def _unwrapped(value: str) -> str:
    value = value.strip()
    if value.startswith("(") and value.endswith(")"):
        inner = "\n".join(line.split(" #")[0] for line in value[1:-1].splitlines())
        return " ".join(inner.split())
    try:
        return " ".join(shlex.split(value, comments=True))
    except ValueError:
        return value


def _expanded(text: str, variables: dict[str, str]) -> str:
    """Put in the values of variables, which hold none themselves; too long ones stay as written."""
    length = len(text)

    def value(match: re.Match[str]) -> str:
        nonlocal length
        default: str | None = match[2]
        found = variables.get(match[1] or match[3], default)
        if found is None or length + len(found) > _MOST_CHARACTERS:
            return match[0]
        length += len(found)
        return found

    return _NAMED.sub(value, text)
