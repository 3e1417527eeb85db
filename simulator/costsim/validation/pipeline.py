"""The one way of measured runs: row → case → prediction → entries, for every kind of row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from costsim.validation.account import Doubt, said, widened, width_of
from costsim.validation.entries import Entry
from costsim.validation.formats import FORMATS, Format
from costsim.validation.kind import Context, Figure, Kind, outcomes
from costsim.validation.kinds import KINDS
from costsim.validation.runs import Run

_SHOWN = 60  # characters of a cell in a reason


def entries_of(runs: Sequence[Run], format_name: str, context: Context) -> list[Entry]:
    """Return the entries of all rows of a file, in their order."""
    format_ = FORMATS[format_name]
    kinds = [kind for kind in KINDS if kind.format == format_name]
    mine: dict[int, list[int]] = defaultdict(list)
    for index, run in enumerate(runs):
        mine[next(n for n, kind in enumerate(kinds) if kind.takes(run))].append(index)
    found: dict[int, list[Entry]] = {}
    for number, indices in mine.items():
        kind = kinds[number]
        of_kind = [runs[index] for index in indices]
        for index, outcome in zip(indices, outcomes(kind, of_kind, context), strict=True):
            found[index] = _entries(kind, runs[index], outcome, format_)
    return [entry for index in range(len(runs)) for entry in found[index]]


def _entries(kind: Kind[Any, Any], run: Run, outcome: Any, format_: Format) -> list[Entry]:
    """Return an entry for each quantity that is predicted or was measured, one at least."""
    figures: list[Figure] = []
    if not isinstance(outcome, str):
        figures.extend(kind.figures(run, outcome))
        outcome = "the row does not say enough to tell it"
    known = {figure.quantity for figure in figures}
    measured = kind.measured(run)
    figures += [
        Figure(quantity, None, measured=measured.get(quantity), reason=outcome)
        for quantity in measured or ([] if figures else [kind.default])
        if quantity not in known
    ]
    doubts = _doubts(run, format_)
    return [_entry(run, figure, doubts) for figure in figures]


def _entry(run: Run, figure: Figure, doubts: Sequence[Doubt]) -> Entry:
    low, high, reason = figure.low, figure.high, figure.reason
    if figure.predicted is not None:
        doubts = [doubt for doubt in doubts if doubt.concerns(figure.quantity)]
        reason = "; ".join(part for part in (reason, said(doubts)) if part)
        if low is not None and high is not None:
            low, high = widened(low, figure.predicted, high, width_of(doubts))
    return Entry(run, figure.quantity, figure.predicted, low, high, figure.measured, reason)


def _doubts(run: Run, format_: Format) -> list[Doubt]:
    """Return what of a row is in doubt: as noted while it was read, and cells nobody asked for."""
    found = list(run.account.doubts.values())
    unasked = [(name, cell[:_SHOWN]) for name, cell in run.text.unasked()]
    unasked += [(name, f"{value:g}") for name, value in run.number.unasked()]
    for name, shown in unasked:
        if format_.columns[name].role == "given":
            found.append(Doubt("unused", f"{name} `{shown}`", name))
    for name, cell in run.unknown.items():
        text = f"column {name[:_SHOWN]} `{cell[:_SHOWN]}`"
        # A column of one's own configures nothing; a misspelt one may.
        width = None if _is_misspelt(name, format_.name) else 0.0
        found.append(Doubt("unknown", text, name, width))
    return found


@lru_cache(maxsize=512)
def _is_misspelt(name: str, format_name: str) -> bool:
    given = [c.name for c in FORMATS[format_name].columns.values() if c.role == "given"]
    return bool(get_close_matches(name[:_SHOWN], given, cutoff=0.75))
