"""Compression: recipes that make an architecture smaller, and what they save and cost.

Loaded on use, so that what reads no recipe imports no pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from costsim.compression.compressing import Compression as Compression
    from costsim.compression.compressing import compress as compress
    from costsim.compression.effects import Effects as Effects
    from costsim.compression.effects import figures as figures
    from costsim.compression.recipes import load_recipe as load_recipe
    from costsim.compression.recipes import recipe_names as recipe_names

_MODULES = {
    "Compression": "compressing",
    "Effects": "effects",
    "compress": "compressing",
    "figures": "effects",
    "load_recipe": "recipes",
    "recipe_names": "recipes",
}

__all__ = ["Compression", "Effects", "compress", "figures", "load_recipe", "recipe_names"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
