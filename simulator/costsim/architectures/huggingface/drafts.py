"""Draft models of speculative decoding, which bear the model type of what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costsim.architectures.huggingface.config import Reader


def draft_reader(values: Mapping[str, Any]) -> Reader | None:
    """Return the reader of the draft model that a config names; None where it names none."""
    return None
