"""A report as one HTML file that loads nothing: no network, charts as inline SVG.

Its only script is the what-if of a plan (`reports/style/what_if.js`), which the page's policy lets
run by its hash; what it reads are numbers, set as JSON without a character that HTML knows.

The page lies in `reports/templates`, its looks in `reports/style`; both are data and can be edited
without touching Python. Written as well-formed XML, so that it can be read back by any parser.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

from costsim import resources
from costsim.reporting import charts
from costsim.reporting.formats import (
    NOTE_TITLES,
    clean,
    format_range,
    format_value,
    provenance_parts,
)
from costsim.reporting.glossary import glossary_of
from costsim.reporting.model import Block, Chart, KeyFigure, Report, Table, is_known
from costsim.reporting.registry import Rendered, RenderOptions
from costsim.reporting.styles import script, style
from costsim.reporting.tables import PrintedTable, chart_table, print_table, print_tree

if TYPE_CHECKING:
    import jinja2

ROW_LIMIT = 100  # of a table; JSON and CSV have all rows


def render(report: Report, options: RenderOptions) -> Rendered:
    """Return the report as one self-contained page."""
    template = _environment().get_template("report.html.j2")
    text = template.render(
        report=report,
        style=style("report.css") + style("chart.css"),
        note_titles=NOTE_TITLES,
        provenance=provenance_parts(report),
        kind_of=_kind_of,
        paragraphs=_paragraphs,
        value_of=format_value,
        split_value=_split_value,
        range_of=format_range,
        marks_of=_marks,
        printed=_printed,
        printed_tree=print_tree,
        svg_of=_svg,
        length_of=_length,
        unbroken=_unbroken,
        cell_class=_cell_class,
        glossary=glossary_of(report),
        script=script("what_if.js") if report.what_if else None,
        terms=_terms(report),
    )
    return Rendered(text)


def _terms(report: Report) -> object:
    """Return the terms of the what-if as JSON that can stand inside a page."""
    from markupsafe import Markup

    if report.what_if is None:
        return ""
    text = json.dumps(report.what_if.terms, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.data_folder("reports") / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalize,
    )
    made.filters["rich"] = _rich
    return made


def _rich(text: str) -> str:
    """Set what stands between backticks as code, everything else as plain text."""
    from markupsafe import Markup, escape

    pieces = clean(text).split("`")
    if len(pieces) % 2 == 0:
        return clean(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if index % 2 else escape(piece)
        for index, piece in enumerate(pieces)
    )


def _length(number: str, unit: str = "") -> str:
    """Return the class that sets a long number smaller, so that it stays on one line."""
    if len(number) > 14:
        return " longer"
    return " long" if len(number) > 9 or len(number) + len(unit) > 16 else ""


def _unbroken(text: str) -> object:
    """Let a text break between its words alone, never at the hyphen of a `device-hour`."""
    from markupsafe import Markup, escape

    words = (
        Markup('<span class="whole">{}</span>').format(w) if "-" in w else escape(w)
        for w in clean(text).split(" ")
    )
    return Markup(" ").join(words)


def _cell_class(table: PrintedTable, column: int) -> object:
    """Return the class of a column's cells: numbers never wrap, words get room for a few."""
    from markupsafe import Markup

    if table.numeric[column]:
        return Markup(' class="n"')
    longest = max((len(row[column]) for row in table.rows), default=0)
    return Markup(' class="words"' if longest > 16 else ' class="t"' if longest > 10 else "")


def _finalize(value: object) -> object:
    """Clean every text that reaches the page; markup of our own was cleaned where it was made."""
    return clean(value) if type(value) is str else value


def _kind_of(block: Block) -> str:
    return "Chart" if isinstance(block, Chart) else type(block).__name__


def _split_value(figure: KeyFigure) -> tuple[str, str]:
    """Return a figure's number and its unit, to be set in two sizes."""
    text = format_value(figure.value, figure.kind, figure.unit)
    if isinstance(figure.value, str):
        return text, ""
    number, _, unit = text.partition(" ")
    return number, unit


def _printed(block: Table | Chart) -> PrintedTable:
    return print_table(block if isinstance(block, Table) else chart_table(block), ROW_LIMIT)


def _svg(chart: Chart, name: str) -> object:
    from markupsafe import Markup

    return Markup(charts.draw(chart).inline(name))


def _paragraphs(text: str) -> list[str]:
    return [paragraph for paragraph in text.split("\n\n") if paragraph.strip()]


def _marks(figure: KeyFigure) -> dict[str, str] | None:
    """Return where a figure's interval and value lie on its little scale, in % of its length.

    The scale runs from a fifth of the interval below it to a fifth above.
    """
    low, high, value = figure.low, figure.high, figure.value
    if low is None or high is None or value is None or isinstance(value, str):
        return None
    if not (is_known(low) and is_known(high) and is_known(value) and low < high):
        return None
    at = 100 * (value - low) / (high - low)
    return {"at": f"{min(max(at, 0), 100):.1f}"}
