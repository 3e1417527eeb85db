"""Charts drawn as SVG: stacked bars and heat maps here, charts with two axes in `plots`.

Bars start at zero; a log axis says so; each mark has its value on hover.
"""

from __future__ import annotations

from costsim.reporting import plots, svg
from costsim.reporting.axes import axis_scale
from costsim.reporting.formats import format_value, scale_for
from costsim.reporting.model import (
    Axis,
    Bar,
    Chart,
    HeatMap,
    Lines,
    Roofline,
    Scatter,
    StackedBars,
    Tornado,
    is_known,
)
from costsim.reporting.tables import bar_texts, chart_table, print_table
from costsim.reporting.tornado import tornado

WIDTH = 680.0
HEAT_STEPS = 7  # classes h1..h7 in chart.css, light to dark


def draw(chart: Chart) -> svg.Drawing:
    """Return the chart as a drawing."""
    match chart:
        case StackedBars():
            return _stacked_bars(chart)
        case HeatMap():
            return _heat_map(chart)
        case Lines():
            return plots.lines(chart, WIDTH)
        case Roofline():
            return plots.roofline(chart, WIDTH)
        case Scatter():
            return plots.scatter(chart, WIDTH)
        case Tornado():
            return tornado(chart, WIDTH)


def _stacked_bars(chart: StackedBars) -> svg.Drawing:
    totals = [_total(bar) for bar in chart.bars]
    axis = axis_scale(Axis("", chart.kind, chart.unit), [*totals, chart.limit])
    scale = scale_for([*totals, chart.limit], chart.kind, chart.unit)
    right = WIDTH - 14

    def x(value: float) -> float:
        return axis.position(value) * (right - 1) + 1

    classes = [svg.series_class(index) for index in range(len(chart.part_names))]
    names = list(chart.part_names)
    if len(chart.bars) == 1:  # the legend can carry the values, rounded to add up as in the table
        cells = [row[1] for row in print_table(chart_table(chart)).rows]
        names = [f"{name} · {cell}" for name, cell in zip(names, cells, strict=True)]
    used = [
        i
        for i in range(len(names))
        if any(bar.parts[i] is None or bar.parts[i] for bar in chart.bars)
    ]  # a part that no bar has needs no name; its colour stays its own
    shown = [names[i] for i in used], [classes[i] for i in used]
    key, key_height = svg.legend(*shown, WIDTH, 1, 0)
    parts = [key]
    top = key_height + 12
    if chart.limit is not None and is_known(chart.limit):
        top += 14
    grid_top, bar_height = top, 26.0
    values: list[str] = []  # drawn last, over the line of the limit
    texts = bar_texts(chart)  # as in the table, where parts add up to the total
    for bar, total, (cells, sum_text, unit) in zip(chart.bars, totals, texts, strict=True):
        value = f"{sum_text} {unit}".rstrip() if sum_text else scale.full(total)
        parts.append(
            svg.text(1, top + 12, svg.fit(bar.label, right - svg.text_px(value) - 30), "b")
        )
        top += 19
        if x(total) + 8 + svg.text_px(value) < right:
            values.append(svg.text(x(total) + 8, top + 17.5, value, "b"))
        else:
            values.append(svg.text(right, top - 7, value, "b", "end"))
        parts.append(svg.line(0.5, top, 0.5, top + bar_height, "axis"))
        start = 0.0
        for index, part in enumerate(bar.parts):
            name, class_ = chart.part_names[index], classes[index]
            if part is None or not is_known(part) or part == 0:
                continue
            left, end = x(start), x(start + part)
            share = part / total
            shown = f"{cells[index]} {unit}".rstrip()
            hover = f"{bar.label}, {name}: {shown} ({share:.1%} of {value})"
            parts.append(svg.rect(left, top, end - left, bar_height, f"seg {class_}", hover))
            label = cells[index]
            if end - left > svg.text_px(label) + 10:
                middle = (left + end) / 2
                parts.append(svg.text(middle, top + 17.5, label, f"on o{class_[1]}", "middle"))
            start += part
        top += bar_height + 14
    if not chart.bars:
        top += 20
    grid = [svg.line(x(tick), grid_top, x(tick), top - 4, "grid") for tick, _ in axis.ticks]
    labels = [label for _, label in axis.ticks]
    labels[-1] += f" {axis.title.strip(' ()')}".rstrip()
    free_until = float("inf")
    for (tick, _), label in reversed(list(zip(axis.ticks, labels, strict=True))):
        half = svg.text_px(label) / 2
        middle = min(max(x(tick), half), WIDTH - half)
        if middle + half < free_until:
            grid.append(svg.text(middle, top + 12, label, "m", "middle"))
            free_until = middle - half - 6
    if chart.limit is not None and is_known(chart.limit):
        parts.append(_limit(chart, x(chart.limit), grid_top, top - 4, right))
    longest = max(chart.bars, key=_total, default=None)
    description = f"Horizontal bars of {', '.join(chart.part_names)}, from zero." + (
        f" {longest.label} is the longest: {scale.full(_total(longest))}." if longest else ""
    )
    return svg.Drawing(WIDTH, top + 20, "".join(grid + parts + values), chart.title, description)


def _limit(chart: StackedBars, x: float, top: float, bottom: float, right: float) -> str:
    """Return the line that bars should stay under, its label on the side that has room."""
    label = f"{chart.limit_label or 'limit'} {format_value(chart.limit, chart.kind, chart.unit)}"
    width = svg.text_px(label)
    at_end = x + width / 2 > right
    anchor, middle = ("end", min(x, right)) if at_end else ("middle", max(x, width / 2))
    return svg.line(x, top - 6, x, bottom, "limit") + svg.text(
        middle, top - 10, label, "lim", anchor
    )


def _total(bar: Bar) -> float:
    return sum(part for part in bar.parts if part is not None and is_known(part))


def _heat_map(chart: HeatMap) -> svg.Drawing:
    known = [v for row in chart.values for v in row if v is not None and is_known(v)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    scale = scale_for(known, chart.kind, chart.unit)
    left = 12 + max([svg.text_px(svg.fit(label, 160)) for label in chart.y_labels], default=0.0)
    columns = max(len(chart.x_labels), 1)
    cell_width = min((WIDTH - left) / columns, 110.0)
    cell_height, top = 32.0, 46.0
    parts = [svg.text(2, 12, chart.y_title, "a")]
    for column, label in enumerate(chart.x_labels):
        middle = left + (column + 0.5) * cell_width
        parts.append(svg.text(middle, top - 8, svg.fit(label, cell_width - 4), "m", "middle"))
    for row, (label, values) in enumerate(zip(chart.y_labels, chart.values, strict=True)):
        y = top + row * cell_height
        parts.append(svg.text(left - 8, y + 20.5, svg.fit(label, 160), "m", "end"))
        for column, value in enumerate(values):
            x = left + column * cell_width
            where = f"{chart.y_title} {label}, {chart.x_title} {chart.x_labels[column]}"
            if value is None or not is_known(value):
                parts.append(svg.rect(x, y, cell_width, cell_height, "seg h0", f"{where}: none"))
                parts.append(svg.text(x + cell_width / 2, y + 20.5, "–", "m", "middle"))
                continue
            step = 1 + min(int((value - low) / (high - low or 1.0) * HEAT_STEPS), HEAT_STEPS - 1)
            hover = f"{where}: {scale.full(value)}"
            parts.append(svg.rect(x, y, cell_width, cell_height, f"seg h{step}", hover))
            label_text = scale.text(value)
            if svg.text_px(label_text) + 4 < cell_width:
                parts.append(
                    svg.text(x + cell_width / 2, y + 20.5, label_text, f"on k{step}", "middle")
                )
    if chart.chosen is not None:
        row, column = chart.chosen
        x, y = left + column * cell_width, top + row * cell_height
        parts.append(svg.rect(x, y, cell_width, cell_height, "ring"))
    bottom = top + len(chart.y_labels) * cell_height
    x_title = svg.fit(chart.x_title, WIDTH - left)
    right = left + columns * cell_width
    y_title_end = 2 + svg.text_px(chart.y_title)
    if right - svg.text_px(x_title) > y_title_end + 16:
        parts.append(svg.text(right, 12, x_title, "a", "end"))
    else:
        parts.append(svg.text(left, bottom + 18, x_title, "a"))
        bottom += 18
    if known:
        parts.append(_heat_key(left, bottom + 12, scale.full(low), scale.full(high)))
    description = f"Grid of {chart.y_title} by {chart.x_title}." + (
        f" From {scale.full(low)} to {scale.full(high)}." if known else ""
    )
    return svg.Drawing(WIDTH, bottom + 36, "".join(parts), chart.title, description)


def _heat_key(left: float, top: float, low: str, high: str) -> str:
    """Return the colour ramp with its ends."""
    start = left + svg.text_px(low) + 8
    ramp = [svg.rect(start + 18 * i, top, 18, 11, f"h{i + 1}") for i in range(HEAT_STEPS)]
    end = start + 18 * HEAT_STEPS + 8
    return svg.text(left, top + 10, low, "m") + "".join(ramp) + svg.text(end, top + 10, high, "m")
