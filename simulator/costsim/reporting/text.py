"""Text on a character grid: display width, cutting, wrapping, bars; with an ASCII twin."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters that draw; `ASCII` serves terminals that cannot show the others."""

    branch: str
    last: str
    through: str
    blank: str
    shades: str  # one character a part of a stacked bar
    eighths: str  # from empty to full
    chosen: str
    bullet: str
    ellipsis: str


UNICODE = Glyphs("├─ ", "└─ ", "│  ", "   ", "█▓▒░▚▞▤▥", " ▏▎▍▌▋▊▉█", "▸", "·", "…")
ASCII = Glyphs("|- ", "`- ", "|  ", "   ", "#=+-o*%x", " #", ">", "-", "...")
_TO_ASCII = str.maketrans(
    {
        "–": "-",
        "—": "-",
        "…": "...",
        "×": "x",
        "·": "-",
        "∞": "inf",
        "≤": "<=",
        "≥": ">=",
        "→": "->",
    }
    | {"µ": "u", "μ": "u", "’": "'", "“": '"', "”": '"', "₂": "2", "\u00a0": " "}
)


def glyphs_for(encoding: str) -> Glyphs:
    """Return the glyphs that `encoding` can carry."""
    return UNICODE if _can_encode("├└│█▓▒░▚▏▸…–", encoding) else ASCII


def encodable(text: str, encoding: str) -> str:
    """Return `text` with what `encoding` lacks replaced by its nearest plain form."""
    if _can_encode(text, encoding):
        return text
    plain = unicodedata.normalize("NFKD", text.translate(_TO_ASCII))
    return plain.encode(encoding, "replace").decode(encoding)


def display_width(text: str) -> int:
    """Return how many columns `text` takes: wide characters two, combining ones none."""
    return sum(map(_character_width, text))


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """Return `text` in at most `width` columns; its end goes, and the cut shows."""
    if display_width(text) <= width:
        return text
    room = max(width - len(ellipsis), 0)
    kept = ""
    for character in text:
        room -= _character_width(character)
        if room < 0:
            break
        kept += character
    return (kept.rstrip() + ellipsis)[:width] if width < len(ellipsis) else kept.rstrip() + ellipsis


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return `text` filled with spaces to `width` columns, on its left if aligned `right`."""
    space = " " * max(width - display_width(text), 0)
    return space + text if right else text + space


def wrap(text: str, width: int, indent: str = "", first: str | None = None) -> list[str]:
    """Break `text` at spaces into lines of at most `width` columns; overlong words are split."""
    lines: list[str] = []
    current = indent if first is None else first
    empty = True
    for word in _split_overlong(text.split(), max(width - display_width(indent), 1)):
        if not empty and display_width(current) + 1 + display_width(word) > width:
            lines.append(current)
            current, empty = indent, True
        current += word if empty else f" {word}"
        empty = False
    return [*lines, current.rstrip()] if not empty else lines


def bar(ratio: float, width: int, glyphs: Glyphs) -> str:
    """Return a bar of `ratio` (0 to 1) of `width` columns, in eighths where the glyphs allow."""
    steps = len(glyphs.eighths) - 1
    filled = round(min(max(ratio, 0.0), 1.0) * width * steps)
    whole, part = divmod(filled, steps)
    return glyphs.eighths[-1] * whole + (glyphs.eighths[part] if part else "")


def stacked_bar(ratios: Iterable[float], width: int) -> list[int]:
    """Return the columns of each part; the bar is as long as the sum, within half a column."""
    ends: list[int] = []
    total = 0.0
    for ratio in ratios:
        total += ratio
        ends.append(round(total * width))
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _split_overlong(words: list[str], width: int) -> Iterable[str]:
    for word in words:
        while display_width(word) > width:
            head = cut(word, width, "") or word[0]
            yield head
            word = word[len(head) :]
        yield word


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
