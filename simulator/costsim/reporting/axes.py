"""Axes: ticks at 1, 2 and 5 times powers of ten, one unit an axis, log said where it is log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from costsim.reporting import svg
from costsim.reporting.formats import Scale, format_value, scale_for
from costsim.reporting.model import Axis, is_known


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return multiples of 1, 2 or 5 x 10^n that enclose `low` to `high`."""
    span = high - low
    if not (span > 0 and math.isfinite(span)):
        span = abs(high) or 1.0
        low, high = min(low, high - span / 2), max(high, low + span / 2)
        span = high - low
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return decades that enclose `low` to `high`; with 2 and 5 between where they are few."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    if last - first > 3:
        stride = max(1, (last - first) // 6)
        return [10.0**power for power in range(first, last + stride, stride)]
    fine = [m * 10.0**power for power in range(first, last + 1) for m in (1, 2, 5)]
    start = max((t for t in fine if t <= low * (1 + 1e-9)), default=fine[0])
    end = min((t for t in fine if t >= high * (1 - 1e-9)), default=fine[-1])
    ticks = [tick for tick in fine if start <= tick <= end]
    return ticks if len(ticks) > 1 else [start / 2, start, start * 2]


@dataclass(frozen=True, slots=True)
class AxisScale:
    """An axis laid out: raw limits, ticks with their labels, and the title with unit."""

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...]
    title: str

    def position(self, value: float) -> float:
        """Return where `value` lies, 0 at the low end and 1 at the high end."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def shows(self, value: float | None) -> bool:
        """Whether `value` can be drawn: known, and positive on a log axis."""
        return value is not None and is_known(value) and (value > 0 or not self.log)


def axis_scale(axis: Axis, values: Iterable[float | None], *, from_zero: bool = True) -> AxisScale:
    """Return the scale that encloses all `values` that can be drawn.

    Args:
        axis: what is measured.
        values: raw numbers; unknown ones are ignored.
        from_zero: whether a linear axis begins at zero (it always shows the data).
    """
    known = [v for v in values if v is not None and is_known(v) and (v > 0 or not axis.log)]
    low, high = min(known, default=1.0 if axis.log else 0.0), max(known, default=1.0)
    if axis.log:
        return _with_labels(axis, log_ticks(low, high))
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    # Ticks are round in the unit that is printed (days, not seconds).
    size = scale_for((low, high), axis.kind, axis.unit, short=True).size
    return _with_labels(axis, [tick * size for tick in linear_ticks(low / size, high / size)])


def _with_labels(axis: Axis, ticks: Sequence[float]) -> AxisScale:
    if axis.log and ticks[-1] / ticks[0] >= 1e4:
        plain = axis.kind in ("number", "count")  # each with its prefix, the unit once in the title
        labels = [format_value(tick, axis.kind, "" if plain else axis.unit) for tick in ticks]
        title = f"{axis.title} ({axis.unit})" if plain and axis.unit else axis.title
    else:
        scale = scale_for(ticks, axis.kind, axis.unit, short=True)
        labels = [_tick_label(scale, tick) for tick in ticks]
        unit = scale.suffix
        if scale.prefix == "$":  # "$2M" reads better than "$2" under "(M)"
            labels = [label if label == "$0" else label + unit for label in labels]
            unit = ""
        title = f"{axis.title} ({unit})" if unit else axis.title
    if axis.log:
        title += ", log scale"
    return AxisScale(ticks[0], ticks[-1], axis.log, tuple(zip(ticks, labels, strict=True)), title)


def _tick_label(scale: Scale, tick: float) -> str:
    return f"{'-' if tick < 0 else ''}{scale.prefix}{abs(tick) / scale.size:,.6g}"


@dataclass(frozen=True, slots=True)
class Frame:
    """The plotting area in px and its two axes."""

    left: float
    top: float
    right: float
    bottom: float
    x_axis: AxisScale
    y_axis: AxisScale

    def x(self, value: float) -> float:
        """Return the px of a raw x."""
        return self.left + self.x_axis.position(value) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Return the px of a raw y."""
        return self.bottom - self.y_axis.position(value) * (self.bottom - self.top)

    @property
    def box(self) -> svg.Box:
        """The area labels may stand in."""
        return svg.Box(self.left + 2, self.top, self.right, self.bottom - 2)

    def draw(self) -> str:
        """Return grid, ticks and titles; x labels that would touch are left out."""
        parts: list[str] = []
        for value, label in self.y_axis.ticks:
            y = self.y(value)
            parts.append(svg.line(self.left, y, self.right, y, "grid"))
            parts.append(svg.text(self.left - 8, y + 4.3, label, "m", "end"))
        free_from = float("-inf")
        for value, label in self.x_axis.ticks:
            x = self.x(value)
            half = svg.text_px(label) / 2
            parts.append(svg.line(x, self.bottom, x, self.bottom + 4, "axis"))
            if x - half >= free_from:
                parts.append(svg.text(x, self.bottom + 18, label, "m", "middle"))
                free_from = x + half + 6
        parts.append(svg.line(self.left, self.bottom, self.right, self.bottom, "axis"))
        parts.append(svg.text(2, self.top - 14, self.y_axis.title, "a"))
        parts.append(svg.text(self.right, self.bottom + 38, self.x_axis.title, "a", "end"))
        return "".join(parts)


def frame_for(
    x_axis: AxisScale, y_axis: AxisScale, width: float, height: float, right: float = 14.0
) -> Frame:
    """Return the frame that leaves room for the widest y label, the titles, and `right` px."""
    left = 12 + max(svg.text_px(label) for _, label in y_axis.ticks)
    last = svg.text_px(x_axis.ticks[-1][1]) / 2
    return Frame(left, 30, width - max(right, last), height - 46, x_axis, y_axis)
