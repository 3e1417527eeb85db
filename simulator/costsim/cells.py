"""Text that others wrote, where a terminal or a spreadsheet may show it."""

from __future__ import annotations

import re
from typing import TypeVar

T = TypeVar("T")

_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def clean(text: str) -> str:
    """Return `text` without control, direction-changing and unencodable characters."""
    return _UNPRINTABLE.sub("\ufffd", text)


def inert(cell: T) -> T | str:
    """Return a cell that neither a spreadsheet nor a terminal runs.

    Text that starts a formula gets an apostrophe, which makes it text and is hidden.
    """
    if not isinstance(cell, str):
        return cell
    text = clean(cell)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
