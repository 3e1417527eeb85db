import csv
import io
import json
import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.errors import UnknownNameError
from costsim.reporting import FORMATS, RenderOptions, format_for_path, render, render_files
from costsim.reporting.model import (
    Answer,
    Column,
    KeyFigure,
    KeyFigures,
    Note,
    Point,
    Provenance,
    Quantity,
    Report,
    Scatter,
    Section,
    Source,
    Table,
    Text,
    Tree,
    TreeLine,
)
from costsim.reporting.tables import print_table, print_tree
from costsim.reporting.text import display_width
from reporting.sample import ALL, BUDGET, EMPTY, GPT3, ONE, PARETO, PLANS

HOSTILE = "<script>alert('1')</script> & \"q\" | `x` [a](b) \x1b[31m \x00 \ud800 {{ 7*7 }} ]]> =1+1"
LONG = "a model with a very long name that nobody would ever want to read in full " * 4
LOADS = re.compile(r"""(?:src|href|data|action)\s*=\s*"(?!#)|url\s*\(|@import""")


def report_of(*blocks, title="t", **more):
    return Report(title, "", Answer("a"), (Section("s", "", blocks),), Provenance("0"), **more)


def hostile_report():
    figure = KeyFigure(HOSTILE, HOSTILE, "text", HOSTILE, 1.0, 2.0, HOSTILE, ("k",))
    tree = Tree(
        HOSTILE, TreeLine(HOSTILE, children=(TreeLine(HOSTILE, 1.0, 2.0, HOSTILE, HOSTILE),))
    )
    table = Table(
        HOSTILE, (Column(HOSTILE), Column(HOSTILE, "number", HOSTILE)), ((HOSTILE, 1),), 0, HOSTILE
    )
    scatter = Scatter(HOSTILE, PARETO.x, PARETO.y, (Point(HOSTILE, 1.0, 1.0, True, True),), HOSTILE)
    return Report(
        HOSTILE,
        HOSTILE,
        Answer(HOSTILE, (figure,), (HOSTILE,)),
        (
            Section(
                HOSTILE,
                HOSTILE,
                (Text(HOSTILE, ("k",)), KeyFigures((figure,)), tree, table, scatter),
            ),
        ),
        Provenance(HOSTILE, HOSTILE, HOSTILE),
        (Note("warning", HOSTILE, ("k",)),),
        (Source("k", HOSTILE, HOSTILE, HOSTILE),),
    )


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)


def tags_of(text):
    parser = Tags()
    parser.feed(text)
    parser.close()
    return parser.seen


def xml_of(html):
    return ET.fromstring(html.removeprefix("<!DOCTYPE html>\n"))


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_golden(format, golden):
    suffix = FORMATS[format].suffixes[0]
    for name, text in render_files(GPT3, format, PurePath(f"gpt3{suffix}")).items():
        golden(f"reporting/{name}", text)


def test_golden_of_markdown_that_stands_alone(golden):
    golden("reporting/gpt3-alone.md", render(GPT3, "markdown"))


def test_golden_of_an_ascii_terminal(golden):
    text = render(GPT3, "table", RenderOptions(encoding="ascii"))
    text.encode("ascii")
    golden("reporting/gpt3-ascii.txt", text)


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_equal_input_gives_equal_bytes_that_are_utf8(format):
    for report in (GPT3, hostile_report()):
        assert render(report, format) == render(report, format)
        assert render(report, format).encode("utf-8").endswith(b"\n")


def test_html_is_one_small_file_that_loads_nothing():
    text = render(GPT3, "html")
    assert len(text.encode()) < 200_000
    xml_of(text)
    assert not LOADS.search(text)
    assert "script" not in tags_of(text)
    listed = text[text.index('<section class="sources">') :]
    assert text.count("://") == listed.count("://")


def test_html_stays_small_with_many_rows_and_points():
    rows = tuple((f"plan {i}", 1e6 + i) for i in range(50_000))
    points = tuple(Point(f"plan {i}", 1.0 + i % 977, 2.0 + i % 613) for i in range(50_000))
    table = Table("t", (Column("Plan"), Column("Cost", "usd", total=True)), rows)
    text = render(report_of(table, Scatter("s", PARETO.x, PARETO.y, points)), "html")
    assert len(text.encode()) < 200_000
    assert "49,900 more rows" in text
    assert f"${sum(round(cost) for _, cost in rows):,}" in text


def test_hostile_text_stays_text():
    report = hostile_report()
    html = render(report, "html")
    xml_of(html)
    assert "script" not in tags_of(html)
    assert "{{ 7*7 }}" in html
    files = render_files(report, "markdown", PurePath("../a b.md"))
    for name, text in files.items():
        if name.endswith(".svg"):
            ET.fromstring(text)
            assert re.fullmatch(r"[\w.-]+", name)
        assert not re.search(r"(?<!\\)<script", text)
    terminal = render(report, "table")
    assert "\x1b" not in terminal
    assert "\x00" not in terminal
    rows = list(csv.reader(io.StringIO(render(report, "csv"))))
    assert not any(cell.startswith("=") for row in rows for cell in row)
    assert json.loads(render(report, "json"))["report"]["title"].startswith("<script>")


def test_spreadsheet_formulas_are_text():
    table = Table("t", (Column("=cmd()"), Column("n", "number")), (("@x", -3.5), ("+1", 2)))
    rows = list(csv.reader(io.StringIO(render(report_of(table), "csv"))))
    assert ["'=cmd()", "n"] in rows
    assert ["'@x", "-3.5"] in rows
    assert ["'+1", "2"] in rows


@pytest.mark.parametrize("format", sorted(FORMATS))
@pytest.mark.parametrize("chart", ALL + EMPTY + ONE, ids=lambda c: type(c).__name__)
def test_every_chart_renders_in_every_format(format, chart):
    for name, text in render_files(report_of(chart), format, PurePath("x")).items():
        assert text
        if format == "html":
            xml_of(text)
        if format == "json":
            json.loads(text)
        assert "nan" not in re.findall(r"\b\w+\b", text), name


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_empty_and_unknown_blocks_render(format):
    columns = (Column("a"), Column("b", "usd", total=True))
    report = report_of(
        Text(""),
        KeyFigures(()),
        KeyFigures((KeyFigure("x", None, "usd"), KeyFigure("y", math.nan, "bytes", low=math.nan))),
        Table("t", (), ()),
        Table("t", columns, ()),
        Table("t", columns, ((None, None), ("x", math.nan), (Quantity(None), math.inf))),
        Tree("t", TreeLine("all")),
        Tree("t", TreeLine("all", 0.0)),
        Tree("t", TreeLine("all", children=(TreeLine("credit", -5.5), TreeLine("x", math.nan)))),
    )
    text = render(report, format)
    if format == "html":
        xml_of(text)
    if format == "json":
        json.loads(text)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_terminal_keeps_to_its_width(width, encoding):
    wide = Table("t", tuple(Column(f"column {i}", "usd") for i in range(30)), ((1e6,) * 30,))
    names = Table(LONG, (Column(LONG), Column(LONG, "usd"), Column("n")), ((LONG, 1.0, "模" * 90),))
    tree = Tree(LONG, TreeLine(LONG, children=(TreeLine(LONG, 1e9, 1e15, LONG),)))
    long = report_of(wide, names, tree, *ALL, title=LONG)
    for report in (GPT3, long, hostile_report()):
        text = render(report, "table", RenderOptions(width=width, encoding=encoding))
        text.encode(encoding)
        assert max(map(display_width, text.splitlines())) <= width


def test_terminal_never_cuts_a_number():
    columns = tuple(Column(f"column {i}", "usd") for i in range(30))
    text = render(report_of(Table("t", columns, ((1_234_567.0,) * 30,))), "table")
    numbers = re.findall(r"\$[\d,]*…?", text)
    assert set(numbers) == {"$1,234,567"}
    assert "columns without room here" in text


def test_terminal_ends_with_the_answer_and_its_reasons():
    lines = render(GPT3, "table").splitlines()
    answer = lines[lines.index("ANSWER") :]
    assert GPT3.answer.text.split()[0] in answer[1]
    assert GPT3.answer.reasons[-1] in lines[-1]


def test_terminal_colours_only_when_asked():
    assert "\x1b" not in render(GPT3, "table")
    coloured = render(GPT3, "table", RenderOptions(color=True))
    assert re.sub(r"\x1b\[\d+m", "", coloured).split() == render(GPT3, "table").split()


def amounts(lines):
    return [
        0 if "not" in line.amount else int(line.amount.strip("$").replace(",", ""))
        for line in lines
    ]


def test_printed_budget_adds_up_at_every_branch():
    lines = print_tree(BUDGET)
    printed = amounts(lines)
    for index, line in enumerate(lines):
        below = [
            amount
            for other, amount in zip(lines[index + 1 :], printed[index + 1 :], strict=True)
            if other.line in line.line.children
        ]
        assert not below or sum(below) == printed[index]
    assert f"${printed[0]:,}" in render(GPT3, "html")


leaf = st.builds(TreeLine, st.text(max_size=5), st.floats(0, 1e7))
trees = st.recursive(
    leaf,
    lambda inner: st.builds(
        lambda label, children: TreeLine(label, children=tuple(children)),
        st.text(max_size=5),
        st.lists(inner, min_size=1, max_size=4),
    ),
    max_leaves=12,
)


@given(trees)
def test_any_printed_tree_adds_up(root):
    lines = print_tree(Tree("t", TreeLine("all", children=(root, TreeLine("more", 1e5)))))
    printed = amounts(lines)
    for index, line in enumerate(lines):
        children, depth = [], line.depth
        for other, amount in zip(lines[index + 1 :], printed[index + 1 :], strict=True):
            if other.depth <= depth:
                break
            if other.depth == depth + 1:
                children.append(amount)
        assert not children or sum(children) == printed[index]


def test_json_is_generic_versioned_and_raw():
    document = json.loads(render(GPT3, "json"))
    assert document["schema_version"] == 1
    blocks = [b["block"] for s in document["report"]["sections"] for b in s["blocks"]]
    assert {"tree", "stacked_bars", "roofline", "scatter", "table", "heat_map", "lines"} <= set(
        blocks
    )
    tree = document["report"]["sections"][0]["blocks"][0]
    assert tree["total"] == BUDGET.root.total
    figure = document["report"]["answer"]["figures"][0]
    assert (figure["value"], figure["kind"]) == (BUDGET.root.total, "usd")


def test_csv_numbers_are_raw_to_twelve_digits():
    rows = list(csv.reader(io.StringIO(render(GPT3, "csv"))))
    at = next(i for i, row in enumerate(rows) if row[1:] == [PLANS.title])
    assert rows[at + 1] == [
        "Strategy", "Time [s]", "Cost [USD]", "Memory [bytes]", "MFU [ratio]", "Devices"
    ]  # fmt: skip
    for printed, row in zip(rows[at + 2 :], PLANS.rows, strict=False):
        assert printed[0] == row[0]
        assert [float(cell) for cell in printed[1:]] == pytest.approx(list(row[1:]), rel=1e-11)


def test_markdown_charts_are_files_beside_it():
    files = render_files(GPT3, "markdown", PurePath("out/plan.md"))
    assert next(iter(files)) == "plan.md"
    linked = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", files["plan.md"])
    assert linked == list(files)[1:]
    assert "█" in render(GPT3, "markdown")
    assert "![" not in render(GPT3, "markdown")


def test_unknown_format_and_suffix_say_what_is_known():
    with pytest.raises(UnknownNameError) as error:
        render(GPT3, "htm")
    assert "`html`" in str(error.value)
    with pytest.raises(UnknownNameError) as error:
        format_for_path(PurePath("plan.docx"))
    assert ".html" in str(error.value)
    assert format_for_path(PurePath("PLAN.MD")) == "markdown"


def test_total_row_counts_the_rows_that_are_not_shown():
    rows = tuple((str(i), 1.0) for i in range(10))
    printed = print_table(Table("t", (Column("n"), Column("usd", "usd", total=True)), rows), 3)
    assert (len(printed.rows), printed.omitted, printed.total) == (3, 7, ("Total", "$10.00"))


def test_chosen_row_is_shown_even_beyond_the_limit():
    rows = tuple((str(i),) for i in range(10))
    printed = print_table(Table("t", (Column("n"),), rows, chosen=7), 3)
    assert printed.rows == (("0",), ("1",), ("7",))
    assert (printed.chosen, printed.omitted) == (2, 7)
