"""What a report says, apart from how it looks: frozen records of raw numbers and their kinds.

A number is kept raw, in SI units, beside the `Kind` that says how people read it; every renderer
formats it through `costsim.reporting.formats`, so that one number looks the same everywhere.
Records refuse shapes that no renderer could draw honestly (a bar with a negative part, a row with
a missing cell) with `ValueError`: that is a fault of the program, never of the user's input.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from costsim.remarks import RemarkKind

Kind = Literal[
    "text",  # printed as it stands
    "count",  # whole things: devices, tokens, parameters
    "number",  # anything else, with its `unit`
    "si",  # a quantity in `unit` that takes SI prefixes: W, J, FLOP/byte
    "bytes",
    "bytes_per_s",
    "flops",
    "flops_per_s",
    "seconds",
    "usd",
    "ratio",  # 0.52 is read as 52 %
]
NoteKind: TypeAlias = RemarkKind


def is_known(value: float | None) -> bool:
    """Say whether `value` is a number that can be drawn: not None, NaN or infinite."""
    return value is not None and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class Quantity:
    """One raw number with the kind that formats it; a table cell may be one."""

    value: float | int | None
    kind: Kind = "number"
    unit: str = ""


Cell = str | bool | int | float | None | Quantity


@dataclass(frozen=True, slots=True)
class Source:
    """Where a number comes from; cited by `key`, printed under its number in the report."""

    key: str
    text: str
    url: str = ""
    read_on: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """What the reader must know: an assumption, a fallback used, something left out, a warning."""

    kind: NoteKind
    text: str
    cites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made the report; holds no clock, so that equal input gives equal bytes."""

    tool_version: str
    catalog_date: str = ""
    input_hash: str = ""


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A number worth a large type, with its low-high interval and one line that explains it."""

    label: str
    value: float | int | str | None
    kind: Kind = "number"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    explanation: str = ""
    cites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The one sentence that the report is for, its figures, and the reasons, largest first."""

    text: str
    figures: tuple[KeyFigure, ...] = ()
    reasons: tuple[str, ...] = ()
    ranges: str = ""  # what the intervals of the figures mean
    risks: tuple[str, ...] = ()  # what may go wrong, the dearest first


@dataclass(frozen=True, slots=True)
class Text:
    """Paragraphs, separated by an empty line; or, as `code`, what is typed as it stands."""

    text: str
    cites: tuple[str, ...] = ()
    code: bool = False


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """A row of key figures."""

    figures: tuple[KeyFigure, ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `total` asks for its printed sum below the rows."""

    title: str
    kind: Kind = "text"
    unit: str = ""
    total: bool = False

    @property
    def numeric(self) -> bool:
        """Whether cells align right."""
        return self.kind != "text"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of raw values under columns that say how to print them.

    `chosen` marks one row; `one_unit` prints all numeric columns, which are then of one kind, in
    one unit, so that they can be read across.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    chosen: int | None = None
    caption: str = ""
    one_unit: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.title!r}: {len(row)} cells, {len(self.columns)} columns"
                )


@dataclass(frozen=True, slots=True)
class TreeLine:
    """A line of a budget: a leaf has an `amount` (None: not priced), a branch sums its children."""

    label: str
    amount: float | None = None
    quantity: float | None = None
    unit: str = ""
    explanation: str = ""
    cites: tuple[str, ...] = ()
    children: tuple[TreeLine, ...] = ()

    def __post_init__(self) -> None:
        if self.children and self.amount is not None:
            raise ValueError(f"tree line {self.label!r}: a branch is the sum of its children")

    @property
    def total(self) -> float:
        """The leaf's amount, or the sum below; what is not priced counts nothing."""
        if self.children:
            return math.fsum(child.total for child in self.children)
        return float(self.amount) if self.amount is not None and is_known(self.amount) else 0.0

    def leaves(self) -> Iterator[TreeLine]:
        """Yield the lines that carry amounts, in order."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


@dataclass(frozen=True, slots=True)
class Tree:
    """A budget tree whose printed lines sum to the printed total."""

    title: str
    root: TreeLine
    kind: Kind = "usd"
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `parts` are in the order of the names of its `StackedBars`, None is unknown."""

    label: str
    parts: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class StackedBars:
    """Bars made of named parts, from zero; `limit` is a line they should stay under."""

    title: str
    part_names: tuple[str, ...]
    bars: tuple[Bar, ...]
    kind: Kind = "number"
    unit: str = ""
    limit: float | None = None
    limit_label: str = ""
    caption: str = ""

    def __post_init__(self) -> None:
        for bar in self.bars:
            if len(bar.parts) != len(self.part_names):
                raise ValueError(
                    f"bar {bar.label!r}: {len(bar.parts)} parts, {len(self.part_names)} names"
                )
            if any(part is not None and part < 0 for part in bar.parts):
                raise ValueError(f"bar {bar.label!r}: a stacked bar cannot show a negative part")


@dataclass(frozen=True, slots=True)
class Axis:
    """What one direction of a chart measures."""

    title: str
    kind: Kind = "number"
    unit: str = ""
    log: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """A line through (x, y) points; a None or NaN y breaks it."""

    label: str
    points: tuple[tuple[float, float | None], ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """One or more series over a common x."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A grid, `values[row][column]`; None is infeasible or unknown; `chosen` is (row, column)."""

    title: str
    x_title: str
    x_labels: tuple[str, ...]
    y_title: str
    y_labels: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    kind: Kind = "number"
    unit: str = ""
    chosen: tuple[int, int] | None = None
    caption: str = ""

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.values}
        if len(self.values) != len(self.y_labels) or widths - {len(self.x_labels)}:
            raise ValueError(f"heat map {self.title!r}: values do not match the labels")


@dataclass(frozen=True, slots=True)
class RooflinePoint:
    """An operator: arithmetic intensity, the rate it reaches, and its share of the time."""

    label: str
    intensity_flops_per_byte: float
    achieved_flops_per_s: float
    time_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Roofline:
    """A device's roof (dense peak and memory bandwidth) and operators under it, log-log."""

    title: str
    device: str
    peak_flops_per_s: float
    bandwidth_bytes_per_s: float
    points: tuple[RooflinePoint, ...]
    caption: str = ""

    def __post_init__(self) -> None:
        if not (self.peak_flops_per_s > 0 and self.bandwidth_bytes_per_s > 0):
            raise ValueError(f"roofline {self.title!r}: a roof needs a positive peak and bandwidth")

    @property
    def ridge_flops_per_byte(self) -> float:
        """The intensity above which compute, not memory, limits."""
        return self.peak_flops_per_s / self.bandwidth_bytes_per_s

    def attainable_flops_per_s(self, intensity_flops_per_byte: float) -> float:
        """The roof over one intensity, in FLOP/s."""
        return min(self.peak_flops_per_s, self.bandwidth_bytes_per_s * intensity_flops_per_byte)


@dataclass(frozen=True, slots=True)
class Point:
    """A candidate in a scatter; the frontier and the chosen one are marked by whoever made it."""

    label: str
    x: float | None
    y: float | None
    frontier: bool = False
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Scatter:
    """Candidates by two measures, with the Pareto frontier and the chosen one."""

    title: str
    x: Axis
    y: Axis
    points: tuple[Point, ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """What one input alone makes of a figure at its low and its high end; None: nothing fits."""

    label: str
    low: float | None
    high: float | None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Tornado:
    """A figure's value and how far each input alone moves it, the widest first."""

    title: str
    value: float
    reaches: tuple[Reach, ...]
    kind: Kind = "usd"
    unit: str = ""
    input_word: str = "input"
    caption: str = ""


Chart = StackedBars | Lines | HeatMap | Roofline | Scatter | Tornado
Block = Text | KeyFigures | Table | Tree | Chart


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, a sentence or two, and blocks."""

    title: str
    intro: str = ""
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that a reader of the page may change; `key` of the scenario does the same."""

    name: str
    label: str
    value: float | None
    key: str

    @property
    def shown(self) -> str:
        """The value to six digits, as a field shows it."""
        return "" if self.value is None else f"{float(f'{self.value:.6g}'):.15g}"


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What may be changed in a page, and the terms (plain JSON values) that figures follow from."""

    settings: tuple[Setting, ...]
    terms: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report says.

    Raises:
        ValueError: if a key is cited that `sources` lack, or two sources have one key.
    """

    title: str
    subtitle: str
    answer: Answer
    sections: tuple[Section, ...]
    provenance: Provenance
    notes: tuple[Note, ...] = ()
    sources: tuple[Source, ...] = ()
    what_if: WhatIf | None = None

    def __post_init__(self) -> None:
        keys = [source.key for source in self.sources]
        if len(set(keys)) != len(keys):
            raise ValueError("two sources have the same key")
        if unknown := sorted(set(self._cited()) - set(keys)):
            raise ValueError(f"cited but not among the sources: {', '.join(unknown)}")

    def numbers(self, cites: tuple[str, ...]) -> tuple[int, ...]:
        """Return the printed numbers, from 1, of the cited sources."""
        order = {source.key: number for number, source in enumerate(self.sources, 1)}
        return tuple(sorted(order[key] for key in cites))

    def _cited(self) -> Iterator[str]:
        for figure in self.answer.figures:
            yield from figure.cites
        for note in self.notes:
            yield from note.cites
        for section in self.sections:
            for block in section.blocks:
                yield from _cited_in(block)


def _cited_in(block: Block) -> Iterator[str]:
    match block:
        case Text():
            yield from block.cites
        case KeyFigures():
            for figure in block.figures:
                yield from figure.cites
        case Tree():
            pending = [block.root]
            while pending:
                line = pending.pop()
                yield from line.cites
                pending += line.children
        case _:
            pass
