"""Blocks as printed cells: tables, trees, and the numbers behind every chart.

Whatever a renderer draws, these are its numbers: the terminal and CSV print them, HTML keeps them
under the chart for readers who cannot see it.
"""

from __future__ import annotations

from dataclasses import dataclass

from costsim.reporting.formats import Scale, apportion, format_column, format_value, scale_for
from costsim.reporting.model import (
    Cell,
    Chart,
    Column,
    HeatMap,
    Lines,
    Roofline,
    Scatter,
    StackedBars,
    Table,
    Tornado,
    Tree,
    TreeLine,
    is_known,
)


@dataclass(frozen=True, slots=True)
class PrintedTable:
    """A table as text: one string a cell, a unit a column, at most `limit` rows."""

    titles: tuple[str, ...]
    units: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] | None
    chosen: int | None
    omitted: int  # rows beyond the limit; printed as a line that says so

    @property
    def headers(self) -> tuple[str, ...]:
        """Titles with their units."""
        return tuple(f"{t} ({u})" if u else t for t, u in zip(self.titles, self.units, strict=True))


def print_table(table: Table, limit: int | None = None) -> PrintedTable:
    """Format a table's cells by column; totals are over all rows, also the omitted ones."""
    units: list[str] = []
    cells: list[list[str]] = []
    totals: list[str] = []
    shared = _shared_scale(table) if table.one_unit else None
    for index, column in enumerate(table.columns):
        values = [row[index] for row in table.rows]
        unit, texts, total = format_column(
            values, column.kind, column.unit, total=column.total, scale=shared
        )
        units.append(unit)
        cells.append(texts)
        totals.append(total)
    rows = list(zip(*cells, strict=True)) if table.rows else []
    shown, chosen = rows if limit is None else rows[:limit], table.chosen
    if chosen is not None and len(shown) <= chosen < len(rows):  # it is what the table is for
        shown, chosen = [*shown[:-1], rows[chosen]], len(shown) - 1
    has_total = bool(table.rows) and any(totals)
    if has_total and not totals[0]:
        totals[0] = "Total"
    return PrintedTable(
        tuple(format_value(column.title) for column in table.columns),
        tuple(format_value(unit) for unit in units),
        tuple(column.numeric for column in table.columns),
        tuple(shown),
        tuple(totals) if has_total else None,
        chosen,
        len(rows) - len(shown),
    )


def _shared_scale(table: Table) -> Scale:
    """Return the scale of all numbers in a table whose numeric columns are of one kind."""
    numeric = [index for index, column in enumerate(table.columns) if column.numeric]
    values = [row[index] for row in table.rows for index in numeric]
    numbers = [value for value in values if isinstance(value, int | float)]
    first = table.columns[numeric[0]] if numeric else Column("", "number")
    return scale_for(numbers, first.kind, first.unit)


@dataclass(frozen=True, slots=True)
class PrintedLine:
    """A line of a tree: its depth, whether each level is the last of its branch, and its texts."""

    lasts: tuple[bool, ...]
    label: str
    quantity: str
    amount: str
    share_ratio: float | None
    line: TreeLine

    @property
    def depth(self) -> int:
        """0 for the root."""
        return len(self.lasts)


NOT_PRICED = "not priced"


def print_tree(tree: Tree) -> list[PrintedLine]:
    """Return a tree's lines; the printed amounts of a branch's lines add up to its own."""
    scale = scale_for([tree.root.total], tree.kind)
    lines: list[PrintedLine] = []

    def walk(line: TreeLine, amount: float | None, lasts: tuple[bool, ...]) -> None:
        quantity = (
            format_value(line.quantity, "number", line.unit) if line.quantity is not None else ""
        )
        text = NOT_PRICED if amount is None else scale.full(amount)
        share = amount / tree.root.total if amount is not None and tree.root.total > 0 else None
        lines.append(PrintedLine(lasts, format_value(line.label), quantity, text, share, line))
        parts = [
            child.total if child.children or is_known(child.amount) else None
            for child in line.children
        ]
        rounded = apportion(parts, amount or 0.0, scale.step)
        for index, (child, part) in enumerate(zip(line.children, rounded, strict=True)):
            walk(child, part, (*lasts, index == len(line.children) - 1))

    root = tree.root
    known = root.children or is_known(root.amount)
    walk(root, apportion([root.total], root.total, scale.step)[0] if known else None, ())
    return lines


def tree_table(tree: Tree) -> Table:
    """Return the tree's leaves as a flat table with the path of each."""
    rows: list[tuple[Cell, ...]] = []

    def walk(line: TreeLine, path: tuple[str, ...]) -> None:
        if not line.children:
            label = " / ".join((*path, line.label)[1:]) or line.label
            rows.append((label, line.quantity, line.unit, line.amount))
        for child in line.children:
            walk(child, (*path, line.label))

    walk(tree.root, ())
    columns = (
        Column("Line"),
        Column("Quantity", "number"),
        Column("Unit"),
        Column("Amount", tree.kind, total=True),
    )
    return Table(tree.title, columns, tuple(rows))


def chart_table(chart: Chart) -> Table:
    """Return the numbers behind a chart, raw, as a table."""
    match chart:
        case StackedBars():
            return _bars_table(chart)
        case Lines():
            columns = (
                Column("Series"),
                Column(chart.x.title, chart.x.kind, chart.x.unit),
                Column(chart.y.title, chart.y.kind, chart.y.unit),
            )
            rows = tuple((s.label, x, y) for s in chart.series for x, y in s.points)
            return Table(chart.title, columns, rows, caption=chart.caption)
        case HeatMap():
            columns = (
                Column(f"{chart.y_title} \\ {chart.x_title}"),
                *(Column(label, chart.kind, chart.unit) for label in chart.x_labels),
            )
            rows = tuple(
                (label, *row) for label, row in zip(chart.y_labels, chart.values, strict=True)
            )
            return Table(chart.title, columns, rows, caption=chart.caption, one_unit=True)
        case Roofline():
            return _roofline_table(chart)
        case Scatter():
            return _scatter_table(chart)
        case Tornado():
            return _tornado_table(chart)


def bar_texts(chart: StackedBars) -> tuple[tuple[tuple[str, ...], str, str], ...]:
    """Return of each bar its parts, its total and the unit, as its table prints them."""
    if not chart.bars or not chart.part_names:
        return tuple(((), "", "") for _ in chart.bars)
    printed = print_table(chart_table(chart))
    totals = printed.total or ("",) * len(printed.titles)
    return tuple(
        (tuple(row[index] for row in printed.rows), totals[index], printed.units[index])
        for index in range(1, len(chart.bars) + 1)
    )


def _bars_table(chart: StackedBars) -> Table:
    if len(chart.bars) == 1:
        bar = chart.bars[0]
        columns = (Column(bar.label), Column("Value", chart.kind, chart.unit, total=True))
        rows = tuple(zip(chart.part_names, bar.parts, strict=True))
        return Table(chart.title, columns, rows, caption=chart.caption)
    columns = (Column("Part"), *(Column(b.label, chart.kind, chart.unit, True) for b in chart.bars))
    rows = tuple(
        (name, *(bar.parts[index] for bar in chart.bars))
        for index, name in enumerate(chart.part_names)
    )
    return Table(chart.title, columns, rows, caption=chart.caption, one_unit=True)


def _roofline_table(chart: Roofline) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for point in chart.points:
        intensity = point.intensity_flops_per_byte
        bound = "compute" if intensity >= chart.ridge_flops_per_byte else "memory"
        roof = chart.attainable_flops_per_s(intensity)
        reached = point.achieved_flops_per_s
        rows.append((point.label, intensity, reached, reached / roof if roof else None, bound))
        rows[-1] += (point.time_ratio,)
    columns = (
        Column("Operator"),
        Column("Intensity", "number", "FLOP/B"),
        Column("Reached", "flops_per_s"),
        Column("Of roof", "ratio"),
        Column("Bound by"),
        Column("Time", "ratio"),
    )
    return Table(chart.title, columns, tuple(rows), caption=chart.caption)


def _tornado_table(chart: Tornado) -> Table:
    remarks = any(one.remark for one in chart.reaches)
    columns = (
        Column(chart.input_word.capitalize()),
        Column("At its low end", chart.kind, chart.unit),
        Column("At its high end", chart.kind, chart.unit),
        *((Column("Remark"),) if remarks else ()),
    )
    rows = tuple(
        (one.label, one.low, one.high, *((one.remark,) if remarks else ())) for one in chart.reaches
    )
    return Table(chart.title, columns, rows, caption=chart.caption)


def _scatter_table(chart: Scatter) -> Table:
    """Return the frontier and the chosen one; all points where none is on a frontier."""
    marked = [p for p in chart.points if p.frontier or p.chosen] or list(chart.points)
    marked.sort(key=lambda p: (p.x is None, p.x or 0.0, p.y or 0.0, p.label))
    columns = (
        Column("Plan"),
        Column(chart.x.title, chart.x.kind, chart.x.unit),
        Column(chart.y.title, chart.y.kind, chart.y.unit),
    )
    chosen = next((index for index, point in enumerate(marked) if point.chosen), None)
    rows = tuple((point.label, point.x, point.y) for point in marked)
    return Table(chart.title, columns, rows, chosen, chart.caption)
