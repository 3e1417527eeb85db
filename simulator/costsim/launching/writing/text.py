"""What all launch files begin with, and words that a shell takes as they are."""

from __future__ import annotations

import shlex

from costsim.launching.writing.recipe import Recipe
from costsim.training.strategy import describe


def header(recipe: Recipe, about: str) -> list[str]:
    """Return the first lines of a shell script."""
    return [
        "#!/bin/bash",
        f"# {one_line(recipe.title)}: {describe(recipe.strategy)}",
        f"# {about}",
    ]


def one_line(text: str) -> str:
    """Return a text without line breaks and what is not printable."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def quoted(word: str) -> str:
    """Return a word as a shell takes it."""
    return shlex.quote(one_line(word))
