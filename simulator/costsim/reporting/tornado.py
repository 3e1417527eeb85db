"""A tornado drawn: what each input alone makes of a figure, the widest first."""

from __future__ import annotations

from costsim.reporting import svg
from costsim.reporting.axes import axis_scale
from costsim.reporting.formats import scale_for
from costsim.reporting.model import Axis, Tornado, is_known

_BAR_PX = 22.0
_LOWER, _HIGHER = "s2", "s5"  # fill of the ends at the lower and the higher input


def tornado(chart: Tornado, width: float) -> svg.Drawing:
    """Return bars from the figure as it is to where each input takes it, both ways."""
    ends = [end for one in chart.reaches for end in (one.low, one.high) if _drawn(end)]
    axis = axis_scale(Axis("", chart.kind, chart.unit), [chart.value, *ends], from_zero=False)
    scale = scale_for([chart.value, *ends], chart.kind, chart.unit)

    def x(value: float) -> float:
        return axis.position(value) * (width - 28) + 14

    words = (f"{chart.input_word} at its low end", f"{chart.input_word} at its high end")
    key, top = svg.legend(words, (_LOWER, _HIGHER), width, 1, 0)
    top += 12
    start, middle = top, x(chart.value)
    bars: list[str] = []
    for one in chart.reaches:
        said = " to ".join(
            scale.full(end) if end is not None and is_known(end) else "nothing fits"
            for end in (one.low, one.high)
        )
        room = width - svg.text_px(said) - 30
        bars.append(svg.text(1, top + 12, svg.fit(one.label, room), "b"))
        bars.append(svg.text(width - 1, top + 12, said, "m", "end"))
        top += 18
        for end, class_, word in zip((one.low, one.high), (_LOWER, _HIGHER), words, strict=True):
            if end is not None and is_known(end) and end != chart.value:
                left, right = sorted((middle, x(end)))
                hover = f"{one.label}, {word}: {scale.full(end)}"
                bars.append(svg.rect(left, top, right - left, _BAR_PX, f"seg {class_}", hover))
        top += _BAR_PX + 10
    ticks = [svg.line(x(tick), start, x(tick), top - 4, "grid") for tick, _ in axis.ticks]
    labels = [label for _, label in axis.ticks]
    labels[-1] += f" {axis.title.strip(' ()')}".rstrip()
    for (tick, _), label in zip(axis.ticks, labels, strict=True):
        half = svg.text_px(label) / 2
        place = min(max(x(tick), half), width - half)
        ticks.append(svg.text(place, top + 12, label, "m", "middle"))
    line = svg.line(middle, start - 4, middle, top - 4, "limit")
    widest = f" {chart.reaches[0].label} moves it most." if chart.reaches else ""
    description = f"How far each input alone moves {scale.full(chart.value)}.{widest}"
    body = "".join([key, *ticks, *bars, line])
    return svg.Drawing(width, top + 20, body, chart.title, description)


def _drawn(end: float | None) -> bool:
    return end is not None and is_known(end)
