"""Charts with two axes: lines, the roofline, and the Pareto scatter."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from costsim.reporting import svg
from costsim.reporting.axes import Frame, axis_scale, frame_for
from costsim.reporting.formats import format_value
from costsim.reporting.model import Axis, Lines, Point, Roofline, RooflinePoint, Scatter

HEIGHT = 360.0
CLOUD_LIMIT = 3_000  # marks of dominated points that one chart draws; they merge on a px grid first


def lines(chart: Lines, width: float) -> svg.Drawing:
    """Return the series as lines, each named at its end."""
    x_values = [x for series in chart.series for x, _ in series.points]
    y_values = [y for series in chart.series for _, y in series.points]
    x_axis = axis_scale(chart.x, x_values, from_zero=False)
    y_axis = axis_scale(chart.y, y_values)
    several = len(chart.series) > 1  # then ends meet anywhere, and names are a legend of full width
    names = [svg.fit(series.label, width * (0.9 if several else 0.3)) for series in chart.series]
    room = 12 if several else 28 + max([svg.text_px(name) for name in names], default=0.0)
    frame = frame_for(x_axis, y_axis, width, HEIGHT, right=room)
    parts = [frame.draw()]
    ends: list[tuple[float, float, str, str]] = []
    for index, (series, name) in enumerate(zip(chart.series, names, strict=True)):
        color = index % svg.SERIES_COLORS + 1
        last: tuple[float, float] | None = None
        for run in _runs(series.points, frame):
            if len(run) > 1:
                parts.append(svg.polyline(run, f"l{color}"))
            last = run[-1]
        for x, y in series.points:
            if y is not None and x_axis.shows(x) and y_axis.shows(y):
                value_x = format_value(x, chart.x.kind, chart.x.unit)
                value_y = format_value(y, chart.y.kind, chart.y.unit)
                hover = f"{series.label}: {value_x}, {value_y}"
                parts.append(svg.circle(frame.x(x), frame.y(y), 3.2, f"dot s{color}", hover))
        if last is not None and not several:
            ends.append((last[1], last[0], name, f"l{color}"))
    parts += _end_labels(ends, frame)
    key, key_height = "", 0.0
    if several:
        classes = [f"s{index % svg.SERIES_COLORS + 1}" for index in range(len(names))]
        key, key_height = svg.legend(names, classes, width, frame.left, HEIGHT + 4)
        parts.append(key)
    description = (
        f"{chart.y.title} over {chart.x.title}: {', '.join(s.label for s in chart.series)}."
    )
    return svg.Drawing(width, HEIGHT + key_height, "".join(parts), chart.title, description)


def _runs(
    points: Sequence[tuple[float, float | None]], frame: Frame
) -> list[list[tuple[float, float]]]:
    """Return the stretches of a series without gaps, in px."""
    runs: list[list[tuple[float, float]]] = []
    broken = True
    for x, y in points:
        if y is None or not (frame.x_axis.shows(x) and frame.y_axis.shows(y)):
            broken = True
            continue
        if broken:
            runs.append([])
        broken = False
        runs[-1].append((frame.x(x), frame.y(y)))
    return runs


def _end_labels(ends: Sequence[tuple[float, float, str, str]], frame: Frame) -> list[str]:
    """Return the names at the lines' ends, each with its colour, pushed apart where ends meet."""
    ordered = sorted(ends)
    gap = 15.0
    places: list[float] = []
    for y, *_ in ordered:
        places.append(max(y, places[-1] + gap) if places else y)
    overflow = places[-1] - frame.bottom if places else 0.0
    if overflow > 0:
        limit = frame.bottom
        for index in range(len(places) - 1, -1, -1):
            places[index] = min(places[index], limit)
            limit = places[index] - gap
    return [
        svg.line(x + 7, place, x + 17, place, class_) + svg.text(x + 22, place + 4.3, name)
        for place, (_, x, name, class_) in zip(places, ordered, strict=True)
    ]


def roofline(chart: Roofline, width: float) -> svg.Drawing:
    """Return the roof and the operators under it on log-log axes; area is share of time."""
    ridge, peak = chart.ridge_flops_per_byte, chart.peak_flops_per_s
    points = [
        p for p in chart.points if p.intensity_flops_per_byte > 0 and p.achieved_flops_per_s > 0
    ]
    x_values = [p.intensity_flops_per_byte for p in points] + [ridge / 20, ridge * 8]
    x_axis = axis_scale(Axis("Arithmetic intensity", "number", "FLOP/byte", log=True), x_values)
    lowest = min([p.achieved_flops_per_s for p in points], default=peak / 100)
    y_axis = axis_scale(Axis("Rate", "flops_per_s", log=True), [min(lowest, peak / 30), peak * 1.4])
    frame = frame_for(x_axis, y_axis, width, HEIGHT)
    start = max(x_axis.low, y_axis.low / chart.bandwidth_bytes_per_s)
    x_ridge, y_peak = frame.x(ridge), frame.y(peak)
    y_start = frame.y(chart.attainable_flops_per_s(start))
    roof = [(frame.x(start), y_start), (x_ridge, y_peak), (frame.right, y_peak)]
    peak_label = f"{format_value(peak, 'flops_per_s')} dense peak"
    bandwidth_label = f"{format_value(chart.bandwidth_bytes_per_s, 'bytes_per_s')} memory"
    ridge_label = f"ridge {format_value(ridge, 'number')} FLOP/byte"
    parts = [
        frame.draw(),
        svg.line(x_ridge, y_peak, x_ridge, frame.bottom, "ridge"),
        svg.polyline(roof, "roof"),
        svg.circle(x_ridge, y_peak, 3.5, "roofdot", f"{chart.device}: {ridge_label}"),
        svg.text(frame.right, y_peak - 8, peak_label, "m", "end"),
        svg.text(x_ridge + 6, frame.bottom - 8, ridge_label, "m"),
    ]
    fraction = 0.35
    x_mid = frame.x(start) + (x_ridge - frame.x(start)) * fraction
    y_mid = y_start + (y_peak - y_start) * fraction
    parts.append(svg.text(x_mid - 10, y_mid - 6, bandwidth_label, "m", "end"))
    taken = [
        svg.Box(frame.right - svg.text_px(peak_label), y_peak - 20, frame.right, y_peak - 4),
        svg.Box(x_ridge, frame.bottom - 20, x_ridge + svg.text_px(ridge_label) + 8, frame.bottom),
        svg.Box(x_mid - svg.text_px(bandwidth_label) - 10, y_mid - 18, x_mid - 8, y_mid - 2),
        svg.Box(frame.left, y_peak - 2, frame.right, y_peak + 2),
        *_along(roof[0], roof[1]),
    ]
    anchors: list[svg.Anchor] = []
    ordered = sorted(points, key=lambda p: (-(p.time_ratio or 0.0), p.label))
    for point in ordered:
        radius = 4 + 9 * (point.time_ratio or 0.0) ** 0.5
        x, y = frame.x(point.intensity_flops_per_byte), frame.y(point.achieved_flops_per_s)
        parts.append(svg.circle(x, y, radius, "op", _roofline_hover(point, chart)))
        anchors.append(svg.Anchor(x, y, point.label, radius))
    parts.append(svg.place_labels(anchors, taken, frame.box))
    description = (
        f"Log-log roofline of {chart.device}: {peak_label}, {bandwidth_label}, {ridge_label}; "
        f"{len(points)} operators, the area of each its share of the time."
    )
    return svg.Drawing(width, HEIGHT, "".join(parts), chart.title, description)


def _roofline_hover(point: RooflinePoint, chart: Roofline) -> str:
    roof = chart.attainable_flops_per_s(point.intensity_flops_per_byte)
    intensity = format_value(point.intensity_flops_per_byte, "number", "FLOP/byte")
    share = "" if point.time_ratio is None else f", {point.time_ratio:.1%} of the time"
    reached = format_value(point.achieved_flops_per_s, "flops_per_s")
    of_roof = f"{point.achieved_flops_per_s / roof:.0%} of the roof"
    return f"{point.label}: {reached} at {intensity}, {of_roof}{share}"


def _along(start: tuple[float, float], end: tuple[float, float], steps: int = 24) -> list[svg.Box]:
    """Return small boxes along a line, so that labels keep off it."""
    boxes: list[svg.Box] = []
    for index in range(steps + 1):
        x = start[0] + (end[0] - start[0]) * index / steps
        y = start[1] + (end[1] - start[1]) * index / steps
        boxes.append(svg.Box(x - 3, y - 3, x + 3, y + 3))
    return boxes


def scatter(chart: Scatter, width: float) -> svg.Drawing:
    """Return the candidates, the frontier as a staircase, and the chosen one in a ring."""
    x_axis = axis_scale(chart.x, [p.x for p in chart.points], from_zero=False)
    y_axis = axis_scale(chart.y, [p.y for p in chart.points], from_zero=False)
    frame = frame_for(x_axis, y_axis, width, HEIGHT)
    placed: list[tuple[float, float, Point]] = []
    for point in chart.points:
        if (
            point.x is not None
            and point.y is not None
            and x_axis.shows(point.x)
            and y_axis.shows(point.y)
        ):
            placed.append((frame.x(point.x), frame.y(point.y), point))
    cloud = [(x, y) for x, y, point in placed if not (point.frontier or point.chosen)]
    marked = sorted(
        ((x, y, p) for x, y, p in placed if p.frontier or p.chosen),
        key=lambda mark: (not mark[2].chosen, mark[0], mark[1], mark[2].label),
    )
    frontier = _lowest([(x, y) for x, y, point in marked if point.frontier])
    others = sum(point.frontier for _, _, point in marked) > len(frontier)
    parts = [frame.draw(), _cloud(cloud)]
    stairs = _stairs(frontier)
    if len(frontier) > 1:
        parts.append(svg.polyline(stairs, "front"))
    anchors: list[svg.Anchor] = []
    for x, y, point in marked:
        value_x = format_value(point.x, chart.x.kind, chart.x.unit)
        value_y = format_value(point.y, chart.y.kind, chart.y.unit)
        hover = f"{point.label}: {chart.x.title} {value_x}, {chart.y.title} {value_y}"
        if point.chosen:
            parts.append(svg.circle(x, y, 9, "ring"))
        class_ = "pick" if point.chosen else "edge" if (x, y) in frontier else "third"
        parts.append(svg.circle(x, y, 4.5, class_, hover))
        label_class = "b" if point.chosen else ""
        anchors.append(svg.Anchor(x, y, point.label, 9 if point.chosen else 4.5, label_class))
    keep_off = [box for a, b in pairwise(stairs) for box in _along(a, b, 10)]
    parts.append(svg.place_labels(anchors, keep_off, frame.box))
    names = ["chosen"] * any(p.chosen for _, _, p in placed) + ["on the frontier"] * bool(frontier)
    names += ["good in a third measure"] * others + ["other plans"] * bool(cloud)
    marks = {
        "chosen": "pick",
        "on the frontier": "edge",
        "good in a third measure": "third",
        "other plans": "cloudkey",
    }
    key, key_height = svg.legend(names, [marks[n] for n in names], width, frame.left, HEIGHT - 2)
    parts.append(key)
    chosen = next((p.label for _, _, p in placed if p.chosen), "")
    description = f"{len(placed)} plans by {chart.x.title} and {chart.y.title}." + (
        f" Chosen: {chosen}." if chosen else ""
    )
    return svg.Drawing(width, HEIGHT + key_height, "".join(parts), chart.title, description)


def _lowest(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points, left to right, that no other beats in both drawn measures.

    A plan may be on the frontier by a measure that the chart does not draw; a line through those
    too would go up and down. Less is better on both axes, and px grow downwards.
    """
    found: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not found or y > found[-1][1]:
            found.append((x, y))
    return found


def _stairs(frontier: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the frontier as steps: between two plans nothing better exists than the first."""
    steps: list[tuple[float, float]] = []
    for x, y in frontier:
        if steps:
            steps.append((x, steps[-1][1]))
        steps.append((x, y))
    return steps


def _cloud(points: Sequence[tuple[float, float]]) -> str:
    """Return many points as one path of round dots, one a px, evenly thinned beyond the limit."""
    cells = sorted({(round(x), round(y)) for x, y in points})
    if len(cells) > CLOUD_LIMIT:
        cells = [cells[i * len(cells) // CLOUD_LIMIT] for i in range(CLOUD_LIMIT)]
    if not cells:
        return ""
    return svg.element("path", d="".join(f"M{x} {y}h0" for x, y in cells), class_="cloud")
