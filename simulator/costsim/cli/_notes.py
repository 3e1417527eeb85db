"""What the reading of a model took for granted: said on stderr, and in JSON, by every command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costsim.cli._console import note

if TYPE_CHECKING:
    from costsim.architectures import Architecture

_DEFAULTS = "not in the config"  # said of a file that somebody else may complete


def say_notes(model: Architecture) -> None:
    """Say a model's notes on stderr; of a packaged model, those that say more than defaults."""
    packaged = model.source and not model.source.startswith(("/", ".", "<"))
    for text in model.notes:
        if not (packaged and text.startswith(_DEFAULTS)):
            note(text)
