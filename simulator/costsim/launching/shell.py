"""Options of a launch script: assignments expanded, continuation lines joined, nothing run."""

from __future__ import annotations

import ast
import operator
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_ASSIGNED = re.compile(r"^(?:export\s+|local\s+)?([A-Za-z_]\w*)(\+?)=(.*)$", re.DOTALL)
_OVERRIDE = re.compile(r"\w+(?:\.\w+)+=")
_SUM = re.compile(r"\$\(\(([\d\s+*/()-]+)\)\)")
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
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
            value = _computed(_expanded(_unwrapped(assigned[3]), variables))
            before = f"{variables.get(assigned[1], '')} " if assigned[2] else ""
            if len(before) + len(value) <= _MOST_CHARACTERS:
                variables[assigned[1]] = before + value
            continue
        found = shlex.split(_computed(_expanded(statement, variables)), comments=True)
        if any(w.startswith("--") or _OVERRIDE.match(w) for w in found) or "vllm" in found:
            _collect(found, words, options)
    if not options and not words:  # a file that another one reads its variables from
        for value in variables.values():
            _collect(shlex.split(value, comments=True), words, options)
    return Command(tuple(words), options)


def _computed(text: str) -> str:
    """Put in the values of sums and products of whole numbers, which is all that is computed."""

    def value(match: re.Match[str]) -> str:
        try:
            return str(_whole(ast.parse(match[1].strip(), mode="eval").body))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return match[0]

    return _SUM.sub(value, text)


def _whole(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value < 10**12:
        return node.value
    if isinstance(node, ast.BinOp):
        left, right = _whole(node.left), _whole(node.right)
        if type(node.op) in _OPERATORS and max(abs(left), abs(right)) < 10**12:
            return _OPERATORS[type(node.op)](left, right)
        if isinstance(node.op, ast.Div) and right:
            return left // right
    raise ValueError("no sum of whole numbers")


def _apart(word: str) -> list[str]:
    """Return the words of an option that an array holds with its value in one pair of quotes."""
    if not (word.startswith("--") and " " in word) or "=" in word.split(" ")[0]:
        return [word]
    try:
        return shlex.split(word)
    except ValueError:
        return word.split()


def _collect(found: list[str], words: list[str], options: dict[str, str]) -> None:
    found = [part for word in found for part in _apart(word)]
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
    value = assigned[3]
    if value.lstrip().startswith(("(", "$((")):
        return False
    try:
        return len(shlex.split(value, comments=True)) > 1
    except ValueError:
        return False


def _unwrapped(value: str) -> str:
    value = value.strip()
    if value.startswith("(") and value.endswith(")"):
        lines = (line for line in value[1:-1].splitlines() if not line.lstrip().startswith("#"))
        inner = "\n".join(re.split(r"\s#", line)[0] for line in lines)
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
