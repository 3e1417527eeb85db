"""A report as Markdown: tables everywhere, charts as SVG files beside it or as bars of characters.

With an asset stem (`-o report.md`) each chart becomes a file `report-1-memory.svg`; without one the
text stands alone, and the numbers of every chart are a table either way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from costsim.reporting.formats import (
    NOTE_TITLES,
    clean,
    format_range,
    format_value,
    provenance_parts,
)
from costsim.reporting.model import (
    Block,
    Chart,
    KeyFigure,
    KeyFigures,
    Report,
    StackedBars,
    Table,
    Text,
    Tree,
    is_known,
)
from costsim.reporting.registry import Rendered, RenderOptions
from costsim.reporting.tables import PrintedTable, chart_table, print_table, print_tree
from costsim.reporting.text import UNICODE, bar

ROW_LIMIT = 50  # of a table; JSON and CSV have all rows
BAR_COLUMNS = 24
_LIST_START = re.compile(r"^(\d*)([-+.)=](?:\s|$))")
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#$&])")


def render(report: Report, options: RenderOptions) -> Rendered:
    """Return the report, and its charts where `options.asset_stem` names them."""
    return _Markdown(report, options.asset_stem).rendered()


class _Markdown:
    """One rendering; collects the chart files as it writes."""

    def __init__(self, report: Report, stem: str) -> None:
        self.report = report
        self.stem = re.sub(r"[^\w.-]+", "-", stem)
        self.assets: dict[str, str] = {}

    def rendered(self) -> Rendered:
        report, answer = self.report, self.report.answer
        parts = [
            f"# {_escape(report.title)}",
            _escape(report.subtitle),
            f"**{_escape(answer.text)}**",
        ]
        parts += [self._figures(answer.figures)]
        parts += [_escape(answer.ranges)]
        parts += ["\n".join(f"{n}. {_escape(r)}" for n, r in enumerate(answer.reasons, 1))]
        if answer.risks:
            parts += ["What may go wrong:"]
            parts += ["\n".join(f"{n}. {_escape(r)}" for n, r in enumerate(answer.risks, 1))]
        for section in report.sections:
            parts += [f"## {_escape(section.title)}", _escape(section.intro)]
            parts += [part for block in section.blocks for part in self._block(block)]
        for kind, title in NOTE_TITLES.items():
            notes = [note for note in report.notes if note.kind == kind]
            if notes:
                parts.append(f"## {_escape(title)}")
                parts.append("\n".join(f"- {_escape(n.text)}{self._cites(n.cites)}" for n in notes))
        if report.sources:
            parts += ["## Sources", "\n".join(self._sources())]
        parts.append(f"*{_escape(' · '.join(provenance_parts(report)))}*")
        return Rendered("\n\n".join(part for part in parts if part.strip()) + "\n", self.assets)

    def _block(self, block: Block) -> list[str]:
        match block:
            case Text(code=True):
                return [f"```sh\n{clean(block.text)}\n```"]
            case Text():
                return [_escape(block.text) + self._cites(block.cites)]
            case KeyFigures():
                return [_heading(block.title), self._figures(block.figures)]
            case Table():
                return [
                    _heading(block.title),
                    _table(print_table(block, ROW_LIMIT)),
                    _escape(block.caption),
                ]
            case Tree():
                return [_heading(block.title), self._tree(block), _escape(block.caption)]
            case _:
                return [
                    _heading(block.title),
                    self._chart(block),
                    self._numbers(block),
                    _escape(block.caption),
                ]

    def _figures(self, figures: Iterable[KeyFigure]) -> str:
        lines = ["| | Value | Range | |", "| --- | ---: | ---: | --- |"]
        for figure in figures:
            value = format_value(figure.value, figure.kind, figure.unit)
            interval = format_range(figure.low, figure.high, figure.kind, figure.unit)
            why = _escape(figure.explanation) + self._cites(figure.cites)
            start = f"| {_escape(figure.label)} | **{_escape(value)}** "
            lines.append(f"{start}| {_escape(interval)} | {why} |")
        return "\n".join(lines) if len(lines) > 2 else ""

    def _tree(self, tree: Tree) -> str:
        lines = ["| Line | Quantity | Amount |", "| --- | ---: | ---: |"]
        for line in print_tree(tree):
            indent = "&emsp;" * line.depth
            strong = "**" if line.line.children else ""
            label = f"{indent}{strong}{_escape(line.label)}{strong}{self._cites(line.line.cites)}"
            lines.append(
                f"| {label} | {_escape(line.quantity)} | {strong}{_escape(line.amount)}{strong} |"
            )
        return "\n".join(lines)

    def _chart(self, chart: Chart) -> str:
        if not self.stem:
            return ""
        from costsim.reporting import charts
        from costsim.reporting.styles import style

        slug = re.sub(r"[^a-z0-9]+", "-", chart.title.lower()).strip("-")[:40] or "chart"
        name = f"{self.stem}-{len(self.assets) + 1}-{slug}.svg"
        self.assets[name] = charts.draw(chart).standalone(style("chart.css"))
        return f"![{_escape(chart.title)}]({name})"

    def _numbers(self, chart: Chart) -> str:
        printed = print_table(chart_table(chart), ROW_LIMIT)
        if not (isinstance(chart, StackedBars) and len(chart.bars) == 1 and not self.stem):
            return _table(printed)
        parts = [part if is_known(part) else None for part in chart.bars[0].parts]
        longest = max((part for part in parts if part is not None), default=0.0)
        bars = tuple(
            bar((part or 0.0) / longest, BAR_COLUMNS, UNICODE) if longest else "" for part in parts
        )
        return _table(printed, bars)

    def _cites(self, cites: tuple[str, ...]) -> str:
        return "".join(f" \\[{number}\\]" for number in self.report.numbers(cites))

    def _sources(self) -> list[str]:
        lines: list[str] = []
        for number, source in enumerate(self.report.sources, 1):
            read = f"(read {source.read_on})" if source.read_on else ""
            text = " ".join(_escape(part) for part in (source.text, source.url, read) if part)
            lines.append(f"{number}. {text}")
        return lines


def _heading(title: str) -> str:
    return f"### {_escape(title)}" if title else ""


def _table(printed: PrintedTable, bars: tuple[str, ...] = ()) -> str:
    """Return a pipe table; `bars` are a last column of characters."""
    if not printed.titles:
        return ""
    headers = [_escape(header) for header in printed.headers]
    marks = ["---:" if numeric else "---" for numeric in printed.numeric]
    lines = [[*headers, *([""] if bars else [])], [*marks, *(["---"] if bars else [])]]
    for index, row in enumerate(printed.rows):
        strong = "**" if index == printed.chosen else ""
        cells = [f"{strong}{_escape(cell)}{strong}" if cell else "" for cell in row]
        lines.append([*cells, *([bars[index]] if bars else [])])
    if printed.total:
        cells = [f"**{_escape(cell)}**" if cell else "" for cell in printed.total]
        lines.append([*cells, *([""] if bars else [])])
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    if printed.omitted:
        text += f"\n\n… and {printed.omitted:,} more rows (all in JSON and CSV)"
    return text


def _escape(text: str) -> str:
    """Return `text` so that Markdown, tables and HTML in it stay text; paragraphs stay apart."""
    paragraphs = [" ".join(part.split()) for part in format_value(text).split("\n\n")]
    escaped = (_spans(part) for part in paragraphs)
    return "\n\n".join(_LIST_START.sub(r"\1\\\2", part) for part in escaped)


def _spans(text: str) -> str:
    """Escape `text`, but keep what stands between two backticks as code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0 or "|" in text or not all(piece.strip() for piece in pieces[1::2]):
        return _SPECIAL.sub(r"\\\1", text)
    return "".join(
        f"`{piece}`" if index % 2 else _SPECIAL.sub(r"\\\1", piece)
        for index, piece in enumerate(pieces)
    )
