"""Hooks: what a lower package may ask for without knowing who answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_HOOKS: dict[str, Callable[..., Any]] = {}


def register(name: str, action: Callable[..., Any]) -> None:
    """Let `action` answer for `name`; the last one registered does."""
    _HOOKS[name] = action


def hook(name: str) -> Callable[..., Any]:
    """Return what answers for `name`.

    Raises:
        LookupError: if nobody does, which is a fault of the program.
    """
    if name not in _HOOKS:
        raise LookupError(f"nothing is registered for {name!r}")
    return _HOOKS[name]
