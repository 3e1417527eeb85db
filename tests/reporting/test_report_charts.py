import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.reporting import charts, svg
from costsim.reporting.axes import axis_scale, linear_ticks, log_ticks
from costsim.reporting.model import Axis, Point, Scatter
from costsim.reporting.styles import style
from reporting.sample import ALL, EMPTY, MEMORY, ONE, PARETO, ROOFLINE, SCALING, STEP, TORNADO


def parse(chart):
    return ET.fromstring(charts.draw(chart).standalone(style("chart.css")))


def rects(root, class_):
    found = (e for e in root.iter() if e.tag.endswith("rect"))
    return [e for e in found if e.get("class", "").startswith(class_)]


@pytest.mark.parametrize("chart", ALL + EMPTY + ONE, ids=lambda c: type(c).__name__)
def test_every_chart_is_well_formed_finite_and_named(chart):
    text = charts.draw(chart).standalone(style("chart.css"))
    root = ET.fromstring(text)
    assert not re.search(r"\bnan\b", text)
    for element in root.iter():
        for name in ("x", "y", "cx", "cy", "width", "height", "r", "x1", "y1", "x2", "y2"):
            if element.get(name) is not None:
                assert math.isfinite(float(element.get(name)))
    _, _, width, height = map(float, root.get("viewBox").split())
    assert width == charts.WIDTH
    assert 0 < height < 2000
    assert root.get("role") == "img"
    ids = {element.get("id") for element in root.iter()}
    assert set(root.get("aria-labelledby").split()) <= ids


@pytest.mark.parametrize("chart", [MEMORY, STEP], ids=lambda c: c.title)
def test_bar_lengths_are_proportional_from_zero(chart):
    """Hover text carries the value; the drawn width over the value is one constant."""
    segments = rects(parse(chart), "seg")
    values = [part for bar in chart.bars for part in bar.parts if part]
    assert len(segments) == len(values)
    for segment, value in zip(segments, values, strict=True):
        scale = float(segments[0].get("width")) / values[0]
        assert float(segment.get("width")) == pytest.approx(value * scale, abs=0.35)
    assert float(segments[0].get("x")) == 1.0  # where zero is


def test_a_tornado_reaches_from_the_value_to_each_end():
    """Widths over distances from the value are one constant; lower ends lie left of the line."""
    root = parse(TORNADO)
    line = next(e for e in root.iter() if e.get("class") == "limit")
    middle = float(line.get("x1"))
    ends = [end for one in TORNADO.reaches for end in (one.low, one.high) if end is not None]
    segments = rects(root, "seg")
    assert len(segments) == len(ends)
    scale = float(segments[0].get("width")) / abs(ends[0] - TORNADO.value)
    for segment, end in zip(segments, ends, strict=True):
        left, width = float(segment.get("x")), float(segment.get("width"))
        assert width == pytest.approx(abs(end - TORNADO.value) * scale, abs=0.2)
        assert left + (width if end < TORNADO.value else 0) == pytest.approx(middle, abs=0.2)
    assert "nothing fits" in charts.draw(TORNADO).body


def test_bars_stack_without_gap():
    segments = rects(parse(STEP), "seg")
    for one, two in itertools.pairwise(segments):
        assert float(one.get("x")) + float(one.get("width")) == pytest.approx(
            float(two.get("x")), abs=0.15
        )


def test_log_axes_say_so():
    assert "log scale" in charts.draw(ROOFLINE).body
    assert "Devices, log scale" in charts.draw(SCALING).body
    assert "log scale" not in charts.draw(PARETO).body


def test_roofline_points_lie_under_the_drawn_roof():
    root = parse(ROOFLINE)
    roof = next(e for e in root.iter() if e.get("class") == "roof").get("points")
    (x0, y0), (x1, y1), (_, y2) = (tuple(map(float, p.split(","))) for p in roof.split())
    assert y1 == y2
    for point in (e for e in root.iter() if e.get("class") == "op"):
        x, y = float(point.get("cx")), float(point.get("cy"))
        above = y1 if x >= x1 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        assert y >= above - 0.2


@pytest.mark.parametrize("chart", [PARETO, ROOFLINE], ids=lambda c: c.title)
def test_point_labels_do_not_overlap(chart):
    root = parse(chart)
    labels = {p.label for p in chart.points}
    boxes = []
    for element in root.iter():
        if element.tag.endswith("text") and element.text in labels:
            x, y = float(element.get("x")), float(element.get("y"))
            boxes.append(svg.Box(x, y - 9, x + svg.text_px(element.text), y + 3))
    assert len(boxes) >= 4
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_chosen_plan_is_labelled_first():
    crowd = tuple(Point(f"plan {i}", 1.0 + i * 1e-6, 1.0, True, i == 30) for i in range(60))
    assert ">plan 30<" in charts.draw(Scatter("t", Axis("x"), Axis("y"), crowd)).body


def test_a_hundred_thousand_points_stay_small():
    points = tuple(Point(str(i), float(i % 331), float(i % 997)) for i in range(100_000))
    assert len(charts.draw(Scatter("t", Axis("x"), Axis("y"), points)).body) < 60_000


@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
def test_linear_ticks_enclose_and_are_round(one, two):
    low, high = min(one, two), max(one, two)
    ticks = linear_ticks(low, high)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= high - 1e-6 * step
    assert 2 <= len(ticks) <= 8
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-6)
    if step > 1e-6 * max(abs(low), abs(high)):
        assert min(abs(mantissa - m) for m in (1, 2, 5, 10)) < 1e-3


@given(st.floats(1e-12, 1e24), st.floats(1, 1e18))
def test_log_ticks_enclose(low, ratio):
    high = low * ratio
    ticks = log_ticks(low, high)
    assert ticks[0] <= low * (1 + 1e-6)
    assert ticks[-1] >= high * (1 - 1e-6)
    assert 2 <= len(ticks) <= 14


def test_time_ticks_are_round_in_the_printed_unit():
    scale = axis_scale(Axis("Time", "seconds"), [80 * 86_400.0])
    assert [label for _, label in scale.ticks] == ["0", "20", "40", "60", "80"]
    assert scale.title == "Time (days)"


def test_money_ticks():
    scale = axis_scale(Axis("Cost", "usd"), [4.2e6])
    assert [label for _, label in scale.ticks] == ["$0", "$1M", "$2M", "$3M", "$4M", "$5M"]
