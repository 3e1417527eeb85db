"""A report for a terminal: plain text of at most `width` columns that ends with the answer.

Written without rich: uppercase headers, no boxes, and a handful of ANSI codes when colour is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from costsim.reporting.formats import (
    NOTE_TITLES,
    format_range,
    format_value,
    provenance_parts,
    scale_for,
)
from costsim.reporting.model import (
    Block,
    HeatMap,
    KeyFigure,
    KeyFigures,
    Lines,
    Note,
    Report,
    Roofline,
    Scatter,
    StackedBars,
    Table,
    Text,
    Tornado,
    Tree,
    is_known,
)
from costsim.reporting.registry import Rendered, RenderOptions
from costsim.reporting.tables import PrintedTable, bar_texts, chart_table, print_table, print_tree
from costsim.reporting.text import (
    Glyphs,
    bar,
    cut,
    display_width,
    encodable,
    glyphs_for,
    pad,
    stacked_bar,
    wrap,
)

BRIEF_LINES = 25  # of an answer alone
ROW_LIMIT = 20  # of a table; JSON and CSV have all rows
_BOLD, _DIM, _ACCENT = "1", "2", "36"


def render(report: Report, options: RenderOptions) -> Rendered:
    """Return the report as lines of at most `options.width` columns."""
    terminal = _Terminal(report, options)
    lines = terminal.brief_lines() if options.brief else terminal.lines()
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    return Rendered(encodable(text, options.encoding))


class _Terminal:
    """One rendering: the report, the options, and the glyphs they allow."""

    def __init__(self, report: Report, options: RenderOptions) -> None:
        self.report = report
        self.width = max(options.width, 40)
        self.color = options.color
        self.glyphs: Glyphs = glyphs_for(options.encoding)

    def lines(self) -> list[str]:
        report = self.report
        lines = [self._style(line, _BOLD) for line in self._wrap(report.title)]
        lines += self._wrap(report.subtitle)
        for section in report.sections:
            lines += ["", self._heading(section.title), *self._wrap(section.intro)]
            for block in section.blocks:
                printed = self._block(block)
                lines += ["", *printed] if printed else []
        lines += self._notes() + self._sources()
        lines += ["", *(self._style(line, _DIM) for line in self._wrap(self._provenance()))]
        return [*lines, "", *self._answer()]

    def _block(self, block: Block) -> list[str]:
        match block:
            case Text():
                cites = self._cites(block.cites)
                paragraphs = (block.text.rstrip() + cites).split("\n\n")
                return [line for p in paragraphs for line in ["", *self._wrap(p)]][1:]
            case KeyFigures():
                return self._title(block.title) + self._figures(block.figures)
            case Table():
                return self._title(block.title) + self._table(block)
            case Tree():
                return self._title(block.title) + self._tree(block)
            case StackedBars():
                return self._title(block.title) + self._bars(block)
            case HeatMap() | Lines() | Roofline() | Scatter() | Tornado():
                return self._title(block.title) + self._table(chart_table(block))

    def _figures(self, figures: Iterable[KeyFigure]) -> list[str]:
        rows: list[tuple[str, str, str]] = []
        for figure in figures:
            interval = format_range(figure.low, figure.high, figure.kind, figure.unit)
            notes = [f"({interval})"] if interval else []
            notes += [figure.explanation] if figure.explanation else []
            value = format_value(figure.value, figure.kind, figure.unit)
            rows.append((figure.label, value, " ".join(notes) + self._cites(figure.cites)))
        label_width = min(max((display_width(r[0]) for r in rows), default=0), self.width // 3)
        value_width = min(max((display_width(r[1]) for r in rows), default=0), self.width // 2)
        lines: list[str] = []
        for label, value, note in rows:
            start = "  " + pad(self._cut(label, label_width), label_width) + "  "
            start += pad(self._cut(value, value_width), value_width, right=True)
            note_lines = wrap(
                format_value(note), self.width, " " * (display_width(start) + 2), start + "  "
            )
            lines += note_lines or [start]
        return lines

    def _table(self, table: Table) -> list[str]:
        """Print headers over their units, text cells wrapped, numbers never cut."""
        printed = print_table(table, ROW_LIMIT)
        if not printed.titles:
            return []
        titles = tuple(title.upper() for title in printed.titles)
        numbers = [*printed.rows, *([printed.total] if printed.total else []), printed.units]
        widths, shown = self._widths(printed, titles, numbers)
        lines = self._row(titles, printed, widths, shown, " ", _BOLD)
        if any(printed.units[:shown]):
            lines += self._row(printed.units, printed, widths, shown, " ", _DIM)
        for index, row in enumerate(printed.rows):
            marked = index == printed.chosen
            mark, style = (self.glyphs.chosen, _ACCENT) if marked else (" ", "")
            lines += self._row(row, printed, widths, shown, mark, style)
        if not printed.rows:
            lines.append("  (none)")
        if printed.omitted:
            more = f"{printed.omitted:,} more rows (all in JSON and CSV)"
            lines.append(f"  {self.glyphs.ellipsis} and {more}")
        if printed.total:
            lines += self._row(printed.total, printed, widths, shown, " ", _BOLD)
        if shown < len(titles):
            hidden = ", ".join(printed.titles[shown:])
            lines += wrap(
                f"columns without room here (all in JSON and CSV): {hidden}", self.width, "  "
            )
        return lines

    def _widths(
        self, printed: PrintedTable, titles: tuple[str, ...], cells: list[tuple[str, ...]]
    ) -> tuple[list[int], int]:
        """Return column widths, and how many columns fit: long titles give way first, then text."""
        count = len(titles)
        needed = [max((display_width(row[i]) for row in cells), default=0) for i in range(count)]
        widths = [
            max(need, display_width(title)) for need, title in zip(needed, titles, strict=True)
        ]
        least = [
            max(need, min(8, width)) if numeric else min(12, width)
            for need, width, numeric in zip(needed, widths, printed.numeric, strict=True)
        ]
        shown = next((n for n in range(count, 1, -1) if sum(least[:n]) + 2 * n <= self.width), 1)
        widths = widths[:shown]
        while (over := sum(widths) + 2 * shown - self.width) > 0:
            room = [i for i in range(shown) if widths[i] > least[i]]
            if not room:
                widths[0] = max(widths[0] - over, 1)
                break
            titles_first = [i for i in room if printed.numeric[i] and widths[i] > 12]
            widths[max(titles_first or room, key=lambda i: widths[i])] -= 1
        return widths, shown

    def _row(
        self,
        cells: tuple[str, ...],
        printed: PrintedTable,
        widths: list[int],
        shown: int,
        mark: str,
        style: str,
    ) -> list[str]:
        """Return a row as one line or more, as its text cells wrap."""
        wrapped = [
            wrap(cell, width) or [""] for cell, width in zip(cells[:shown], widths, strict=True)
        ]
        lines: list[str] = []
        for depth in range(max(map(len, wrapped), default=0)):
            texts = [
                pad(cell[depth] if depth < len(cell) else "", width, right=numeric)
                for cell, width, numeric in zip(
                    wrapped, widths, printed.numeric[:shown], strict=True
                )
            ]
            lines.append(self._style(f"{' ' if depth else mark} {'  '.join(texts)}", style))
        return lines

    def _tree(self, tree: Tree) -> list[str]:
        printed = print_tree(tree)
        amount_width = max(display_width(line.amount) for line in printed)
        quantity_width = min(max(display_width(line.quantity) for line in printed), self.width // 3)
        label_width = self.width - amount_width - quantity_width - 4
        lines: list[str] = []
        for line in printed:
            rails = "".join(
                self.glyphs.blank if last else self.glyphs.through for last in line.lasts[:-1]
            )
            if line.lasts:
                rails += self.glyphs.last if line.lasts[-1] else self.glyphs.branch
            label = self._cut(rails + line.label + self._cites(line.line.cites), label_width)
            text = pad(label, label_width) + "  "
            text += pad(self._cut(line.quantity, quantity_width), quantity_width, right=True) + "  "
            text += pad(line.amount, amount_width, right=True)
            lines.append(self._style(text, _BOLD) if not line.lasts else text)
        return lines

    def _bars(self, chart: StackedBars) -> list[str]:
        """Draw one bar part by part; several as stacks on one scale under a legend of shades."""
        if len(chart.bars) == 1:
            return self._one_bar(chart, print_table(chart_table(chart)))
        totals = [sum(p for p in bar.parts if p is not None and is_known(p)) for bar in chart.bars]
        longest = max([*totals, chart.limit or 0.0], default=0.0)
        scale = scale_for([*totals, longest], chart.kind, chart.unit)
        longest_label = max((display_width(b.label) for b in chart.bars), default=0)
        label_width = min(longest_label, self.width * 2 // 5)
        value_width = max((display_width(scale.full(total)) for total in totals), default=0)
        room = self.width - label_width - value_width - 6
        shades = self.glyphs.shades
        lines: list[str] = []
        for one, value, (_, printed, unit) in zip(
            chart.bars, map(scale.full, totals), bar_texts(chart), strict=True
        ):
            value = f"{printed} {unit}".rstrip() if printed else value
            ratios = [(p or 0.0) / longest if is_known(p) and longest else 0.0 for p in one.parts]
            drawn = "".join(
                shades[i % len(shades)] * columns
                for i, columns in enumerate(stacked_bar(ratios, room))
            )
            label = pad(self._cut(one.label, label_width), label_width)
            value = pad(value, value_width, right=True)
            lines.append(f"  {label}  {self._style(pad(drawn, room), _ACCENT)}  {value}")
        lines += self._legend(chart.part_names)
        if chart.limit is not None:
            lines.append(f"  {chart.limit_label or 'limit'}: {scale.full(chart.limit)}")
        return [*lines, "", *self._table(chart_table(chart))]

    def _legend(self, names: tuple[str, ...]) -> list[str]:
        """Return shades with their names, as many on a line as fit whole."""
        lines: list[str] = []
        for index, name in enumerate(names):
            shade = self.glyphs.shades[index % len(self.glyphs.shades)]
            entry = f"  {shade} {self._cut(name, self.width - 4)}"
            if lines and display_width(lines[-1]) + display_width(entry) <= self.width:
                lines[-1] += entry
            else:
                lines.append(entry)
        return lines

    def _one_bar(self, chart: StackedBars, table: PrintedTable) -> list[str]:
        parts = chart.bars[0].parts
        longest = max((p for p in parts if p is not None and is_known(p)), default=0.0)
        unit = table.units[1]
        rows = [*table.rows, *([table.total] if table.total else [])]
        names = [self._cut(row[0], self.width // 3) for row in rows]
        values = [f"{row[1]} {unit}".rstrip() for row in rows]
        name_width = max(map(display_width, names), default=0)
        value_width = max(map(display_width, values), default=0)
        room = self.width - name_width - value_width - 6
        lines: list[str] = []
        for index, (name, value) in enumerate(zip(names, values, strict=True)):
            drawn = ""
            if index < len(parts):
                part = parts[index]
                known = part is not None and is_known(part) and longest
                drawn = bar((part or 0.0) / longest, room, self.glyphs) if known else ""
            start = f"  {pad(name, name_width)}  {self._style(pad(drawn, room), _ACCENT)}"
            line = f"{start}  {pad(value, value_width, right=True)}"
            lines.append(line if index < len(parts) else self._style(line, _BOLD))
        if chart.limit is not None:
            limit = format_value(chart.limit, chart.kind, chart.unit)
            lines.append(f"  {chart.limit_label or 'limit'}: {limit}")
        return lines

    def _answer(self) -> list[str]:
        answer = self.report.answer
        lines = [self._heading("Answer")]
        lines += [self._style(line, _BOLD) for line in self._wrap(answer.text)]
        lines += self._figures(answer.figures)
        lines += wrap(format_value(answer.ranges), self.width, "  ", "  ") if answer.ranges else []
        if answer.risks:
            lines += ["  What may go wrong:", *self._numbered(answer.risks)]
            lines += ["  Because:"] if answer.reasons else []
        return lines + self._numbered(answer.reasons)

    def _numbered(self, texts: Iterable[str]) -> list[str]:
        lines: list[str] = []
        for number, text in enumerate(texts, 1):
            lines += wrap(format_value(text), self.width, "     ", f"  {number}. ")
        return lines

    def brief_lines(self) -> list[str]:
        """Return the answer alone in at most `BRIEF_LINES` lines, what it rests on as room is."""
        report, answer = self.report, self.report.answer
        lines = [self._style(line, _BOLD) for line in self._wrap(report.title)]
        lines += [*self._wrap(report.subtitle), "", self._heading("Answer")]
        lines += [self._style(line, _BOLD) for line in self._wrap(answer.text)]
        lines += self._figures(replace(one, explanation="", cites=()) for one in answer.figures)
        rest = ([answer.ranges] if answer.ranges else [], answer.reasons, answer.risks)
        heads = ("", "Because:", "What may go wrong:")
        for head, texts in zip(heads, rest, strict=True):
            block = [f"  {head}"] if head else []
            block += self._numbered(texts) if head else wrap("".join(texts), self.width, "  ", "  ")
            if texts and len(lines) + len(block) < BRIEF_LINES:
                lines += block
        more = "`--full` prints the whole report; `-o plan.html` writes it."
        return [*lines, *(self._style(line, _DIM) for line in self._wrap(more))]

    def _notes(self) -> list[str]:
        lines: list[str] = []
        for kind, title in NOTE_TITLES.items():
            notes: list[Note] = [note for note in self.report.notes if note.kind == kind]
            lines += ["", self._heading(title)] if notes else []
            for note in notes:
                text = format_value(note.text) + self._cites(note.cites)
                lines += wrap(text, self.width, "    ", f"  {self.glyphs.bullet} ")
        return lines

    def _sources(self) -> list[str]:
        lines = ["", self._heading("Sources")] if self.report.sources else []
        for number, source in enumerate(self.report.sources, 1):
            read = f"(read {source.read_on})" if source.read_on else ""
            text = " ".join(part for part in (source.text, source.url, read) if part)
            lines += wrap(format_value(text), self.width, "      ", pad(f"  [{number}] ", 6))
        return lines

    def _provenance(self) -> str:
        return f" {self.glyphs.bullet} ".join(provenance_parts(self.report))

    def _heading(self, title: str) -> str:
        return self._style(self._cut(format_value(title).upper(), self.width), _BOLD)

    def _title(self, title: str) -> list[str]:
        return self._wrap(title)

    def _wrap(self, text: str) -> list[str]:
        return wrap(format_value(text), self.width)

    def _cut(self, text: str, width: int) -> str:
        return cut(format_value(text), width, self.glyphs.ellipsis)

    def _cites(self, cites: tuple[str, ...]) -> str:
        return "".join(f" [{number}]" for number in self.report.numbers(cites))

    def _style(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and text and code else text
