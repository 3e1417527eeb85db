"""Plain tables, JSON and CSV of catalog commands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

SCHEMA_VERSION = 1


def aligned(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> str:
    """Return aligned columns, those in `right` to the right."""
    widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    )


def to_json(content: Mapping[str, Any]) -> str:
    """Return `content` as JSON that says which version of its layout it has."""
    import json

    return json.dumps({"schema_version": SCHEMA_VERSION, **content}, indent=2, ensure_ascii=False)


def to_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return CSV with a header; None is an empty cell, and no cell is a formula of a spreadsheet.

    A text that a spreadsheet would run starts with an apostrophe, which it hides.
    """
    import csv
    import io

    from costsim.cells import inert

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([inert(cell) for cell in row] for row in rows)
    return text.getvalue()
