"""The catalog of stacks: hardware_specs/stacks/, one file a framework."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from costsim.errors import Problem, SpecError, UnknownNameError, suggestion
from costsim.resources import data_folder, packaged_yaml
from costsim.stacks.stack import CHOICES, RANGES, SWITCHES, Stack

PLAIN = "pytorch"
"""What is taken of a framework that nobody knows: PyTorch as it comes, with a wider interval."""


@cache
def stack_names() -> tuple[str, ...]:
    """Return the ids of all stacks."""
    folder = data_folder("hardware_specs") / "stacks"
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


@cache
def load_stack(name: str) -> Stack:
    """Return the stack whose id is `name`.

    Raises:
        UnknownNameError: where there is none of that name.
    """
    if name not in stack_names():
        raise UnknownNameError(
            f"unknown training stack `{name}`", hint=suggestion(name, stack_names())
        )
    values = dict(_file(name))
    for key in ("matches", "recipes"):
        values.pop(key, None)
    return changed(Stack(id=name, **values.pop("about")), values)


def changed(stack: Stack, values: Mapping[str, Any]) -> Stack:
    """Return `stack` with other choices.

    Raises:
        SpecError: with every choice that is not known, and what it may be.
    """
    known = {*CHOICES, *RANGES, *SWITCHES, *_MODES, *_LISTS}
    problems: list[Problem] = []
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            problems.append(Problem(f"unknown choice `{key}` of a stack", hint=_near(key, known)))
        elif wanted := _wanted(key, value):
            problems.append(Problem(f"`{key}` cannot be `{str(value)[:40]}`", hint=wanted))
        else:
            found[key] = _as_held(key, value)
    if problems:
        raise SpecError(problems)
    return replace(stack, **found)


_MODES = ("recompute", "recompute_adapters")
_LISTS = ("adapter_targets",)
_WHOLE = ("loss_chunks", "recompute_layers", "zero")


def _as_held(key: str, value: Any) -> Any:
    if key in _LISTS:
        return (value,) if isinstance(value, str) else tuple(value)
    return int(value) if key in _WHOLE else value


def _wanted(key: str, value: Any) -> str:
    """Return what a choice may be; "" where it is."""
    if key in CHOICES:
        return "" if value in CHOICES[key] else f"one of {', '.join(CHOICES[key])}"
    if key in SWITCHES:
        return "" if isinstance(value, bool) else "true or false"
    if key in _MODES:
        return "" if isinstance(value, str) and value else "the name of a mode of recomputation"
    if key in _LISTS:
        names = _as_held(key, value) if isinstance(value, str | list | tuple) else ()
        return "" if names and all(isinstance(n, str) for n in names) else "names of projections"
    low, high = RANGES[key]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and low <= value <= high and (key not in _WHOLE or value == int(value)):
        return ""
    return f"a {'whole ' if key in _WHOLE else ''}number from {low:g} to {high:g}"


def stack_for(words: str) -> Stack:
    """Return the stack that a framework's name, as people write it, means.

    The first part of `words` that a stack's patterns match decides, the longest if several do.
    Words that no pattern matches give plain PyTorch, marked as not known.
    """
    lowered = words.lower()
    hits = [
        (found.start(), -len(found[0]), name)
        for name in stack_names()
        for pattern in _file(name)["matches"]
        if (found := re.search(pattern, lowered))
    ]
    if not hits:
        return replace(load_stack(PLAIN), known=False)
    return load_stack(min(hits)[2])


def under_recipe(stack: Stack, model: str) -> Stack:
    """Return `stack` as its own recipe for `model` changes it; as it is, where it has none."""
    for recipe in _file(stack.id).get("recipes", ()):
        values = dict(recipe)
        if re.search(values.pop("match"), model.lower()):
            return changed(stack, values)
    return stack


def _near(key: str, known: set[str]) -> str:
    return suggestion(key, known)


def _file(name: str) -> dict[str, Any]:
    return packaged_yaml("hardware_specs", f"stacks/{name}.yaml")
