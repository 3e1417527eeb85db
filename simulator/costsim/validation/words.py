"""Words of runs files and what they mean, from tables of `hardware_specs/runs/`.

Words are matched whole, so that `v2` is not found in `dev2025`; what is not understood is noted in
the row's account, and so is what is understood and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from costsim.resources import packaged_yaml
from costsim.validation.runs import Run

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Term:
    """One line of a table: `says` holds its fields, `found` the match of a text."""

    pattern: re.Pattern[str]
    says: Mapping[str, Any]


def whole_words(pattern: str) -> re.Pattern[str]:
    """Return a pattern that letters, digits and underscores do not go on at either end of."""
    return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.I)


@cache
def table(column: str, names: tuple[str, ...] = ()) -> tuple[Term, ...]:
    """Return the terms of a column; behind them `names` mean themselves."""
    lines: list[dict[str, Any]] = packaged_yaml("hardware_specs", "runs/words.yaml")[column]
    lines = [*lines, *({"match": re.escape(name), "means": name} for name in names)]
    return tuple(Term(whole_words(line["match"]), line) for line in lines)


def understood(
    run: Run, column: str, names: Iterable[str] = ()
) -> tuple[Mapping[str, Any], re.Match[str]] | None:
    """Return what the words of a cell mean, and where they say so; None where nothing is known.

    Words beside those are noted in the row's account.
    """
    words = run.text.get(column) or noted(run, column)
    if not words:
        return None
    first: tuple[Mapping[str, Any], re.Match[str]] | None = None
    left, beside = words, list[str]()
    for term in table(column, tuple(names)):
        match = term.pattern.search(left)
        if match is None:
            continue
        if term.says.get("beside"):
            beside.append(match[0])
        elif first is None:
            first = term.says, match
        elif _meaning(term.says) != _meaning(first[0]) and not term.says.get("general"):
            beside.append(match[0])
        left = term.pattern.sub(" ", left)
    for word in beside:
        run.account.note("unused", f"{column} `{word[:_SHOWN]}`", column=column)
    left = " ".join(re.findall(r"\w+(?:[-.]\w+)*", _joining().sub(" ", left)))
    if left:
        run.account.note("unknown", f"{column} `{left[:_SHOWN]}`", column=column)
    return first


def meaning(run: Run, column: str, names: Iterable[str] = ()) -> str | None:
    """Return the one word that the words of a cell mean; None where they are empty or unknown."""
    found = understood(run, column, names)
    return None if found is None else str(found[0]["means"])


def noted(run: Run, column: str) -> str:
    """Return what the notes of a row say of a column whose cell is empty; "" where nothing."""
    words = run.text.get("notes", "")
    if not words:
        return ""
    terms = (term for term in table("notes") if term.says["column"] == column)
    return next((str(term.says["says"]) for term in terms if term.pattern.search(words)), "")


def _meaning(says: Mapping[str, Any]) -> Any:
    return says.get("means", (says.get("zero"), says.get("over")))


@cache
def _joining() -> re.Pattern[str]:
    return whole_words(packaged_yaml("hardware_specs", "runs/words.yaml")["joining"])
