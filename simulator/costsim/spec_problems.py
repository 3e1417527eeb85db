"""Pydantic's complaints about a document, as problems with a place and a hint."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from costsim.errors import Location, Problem, suggestion

if TYPE_CHECKING:
    from costsim.documents import Document

Path = tuple[str | int, ...]


def problems_of(
    error: ValidationError, document: Document, model: type[BaseModel]
) -> tuple[Problem, ...]:
    """Return every problem in `error` once, in the order in which it stands in the document."""
    found: dict[tuple[Path, Location], list[tuple[str, str | None]]] = {}
    details = error.errors(include_url=False)
    extra = [(document.steps(e["loc"]), e["loc"]) for e in details if e["type"] == _EXTRA]
    for detail in details:
        kind, loc = detail["type"], detail["loc"]
        if kind == "missing":
            parent, name = document.steps(loc[:-1]), str(loc[-1])
            if _is_misspelt(name, [path[-1] for path, _ in extra if path[:-1] == parent]):
                continue  # the unknown key beside it is the same mistake
            path, location = (*parent, name), document.locate(loc[:-1])
        else:
            path, location = document.steps(loc), document.locate(loc, key=kind == _EXTRA)
        described = _describe(dict(detail), _dotted(path), _known_keys(model, loc))
        messages = found.setdefault((path, location), [])
        if described not in messages:
            messages.append(described)
    problems = [
        Problem(
            _join([m for m, _ in messages]), location, next((h for _, h in messages if h), None)
        )
        for (_, location), messages in found.items()
    ]
    return tuple(
        sorted(
            problems, key=lambda p: (p.location.line, p.location.column) if p.location else (0, 0)
        )
    )


_EXTRA = "extra_forbidden"


def _is_misspelt(name: str, present: Iterable[str | int]) -> bool:
    return bool(get_close_matches(name, [str(key) for key in present], n=1, cutoff=0.6))


def _describe(detail: dict[str, Any], path: str, known: list[str]) -> tuple[str, str | None]:
    """Return message and hint of one pydantic error about `path`."""
    kind, context = detail["type"], detail.get("ctx", {})
    key = path.rpartition(".")[2]
    if kind == _EXTRA:
        return f"unknown key `{path}`", suggestion(key, known) if known else None
    if kind == "missing":
        return f"missing `{path}`", None
    subject = f"`{path}`: " if path else ""
    if kind == "costsim":
        return subject + context["message"], context["hint"]
    if kind in ("model_type", "dict_type"):
        return f"{subject}must be a mapping of keys to values{_is(detail['input'])}", None
    if kind == "union_tag_not_found":
        return f"{subject}missing {context['discriminator'].replace(chr(39), '`')}", None
    choices = re.findall(
        r"'([^']*)'", str(context.get("expected_tags", context.get("expected", "")))
    )
    if choices and kind in ("literal_error", "enum", "union_tag_invalid"):
        given = str(context.get("tag", detail["input"]))
        of = context.get("discriminator", "").strip("'")
        where = f"`{path}.{of}`: ".replace("`.", "`") if of else subject
        listed = ", ".join(f"`{choice}`" for choice in choices)
        near = get_close_matches(given.lower(), choices, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else None
        return f"{where}`{_clip(given)}` is none of {listed}", hint
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    message = message[:1].lower() + message[1:].replace("should be", "must be")
    message = message.replace("should be", "must be")
    return f"{subject}{message}{_is(detail['input'])}", _bound(kind, context)


def _bound(kind: str, context: dict[str, Any]) -> str | None:
    """Return what would be within a numeric bound, or be a number at all."""
    match kind:
        case "greater_than_equal":
            return f"use {context['ge']:g} or more"
        case "greater_than":
            return f"use more than {context['gt']:g}"
        case "less_than_equal":
            return f"use {context['le']:g} or less"
        case "less_than":
            return f"use less than {context['lt']:g}"
        case "int_type" | "int_parsing" | "int_from_float":
            return "write a whole number, such as `2048`"
        case "float_type" | "float_parsing":
            return "write a number, such as `1.1`"
        case "bool_type" | "bool_parsing":
            return "write `true` or `false`"
        case _:
            return None


def _is(value: object) -> str:
    """Return ", is <value>" for a value short enough to be worth quoting."""
    if isinstance(value, str | int | float | bool) or value is None:
        shown = "empty" if value is None else f"`{_clip(str(value))}`"
        return f", is {shown}"
    return ", is a list" if isinstance(value, list) else ""


def _clip(text: str, width: int = 40) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _join(messages: list[str]) -> str:
    """Return the messages of a union's members about one value as one message."""
    first, *others = messages
    subject = first.partition(": ")[0] + ": "
    return "; or ".join([first, *(message.removeprefix(subject) for message in others)])


def _dotted(path: Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _known_keys(model: type[BaseModel], loc: Path) -> list[str]:
    """Return the keys that the mapping which holds `loc` may have."""
    models = [model]
    for step in loc[:-1]:
        inner = [m for owner in models for m in _models_at(owner, step)]
        if inner:
            models = inner
        elif isinstance(step, str):  # the tag of a discriminated union, or a member's name
            models = [m for m in models if step == m.__name__ or _is_tagged(m, step)] or models
    return sorted({name for m in models for name in _keys(m)})


def _keys(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _models_at(model: type[BaseModel], step: str | int) -> list[type[BaseModel]]:
    keys = _keys(model)
    return _models_in(keys[step]) if isinstance(step, str) and step in keys else []


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a value of `annotation` (or its elements) may be."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    if get_origin(annotation) is Literal:
        return []
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _is_tagged(model: type[BaseModel], tag: str) -> bool:
    annotations = (field.annotation for field in model.model_fields.values())
    return any(get_origin(a) is Literal and tag in get_args(a) for a in annotations)
