"""SVG by hand: elements, text that is measured before it is placed, labels that do not overlap.

Colours and fonts are classes that `reports/style/chart.css` defines, so that one drawing serves
light, dark and print, inside HTML or as a file of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from costsim.cells import clean
from costsim.reporting.text import cut, display_width

FONT_PX = 12.5
LINE_PX = 18.0
SERIES_COLORS = 8  # classes s1..s8 in chart.css
# Advance widths of common sans fonts, in em: narrow and wide letters, digits, capitals, the rest.
_NARROW = frozenset("iljftrI.,:;'|!()[] ")
_WIDE = frozenset("mwMW%@")


def series_class(index: int) -> str:
    """Return the fill class of the part at `index`; beyond eight the colours come again, paler."""
    pale = " again" if index // SERIES_COLORS % 2 else ""
    return f"s{index % SERIES_COLORS + 1}{pale}"


def text_px(text: str, size: float = FONT_PX) -> float:
    """Return the width of `text` in px, a few per cent on the wide side of usual sans fonts."""
    em = 0.0
    for character in text:
        if character in _NARROW:
            em += 0.34
        elif character in _WIDE:
            em += 0.92
        elif character.isupper():
            em += 0.67
        else:
            em += 0.57 * display_width(character)
    return em * size


def fit(text: str, width_px: float, size: float = FONT_PX) -> str:
    """Return `text` cut so that it takes at most `width_px`."""
    text = clean(text)
    length = display_width(text)
    while length > 1 and text_px(cut(text, length), size) > width_px:
        length -= 1
    return cut(text, length)


def number(value: float) -> str:
    """Return a coordinate to a tenth of a px, without idle zeros."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def element(name: str, content: str = "", title: str = "", **attributes: float | str) -> str:
    """Return an element; `content` is markup, `title` is text shown on hover."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="'
        f'{escape(clean(value)) if isinstance(value, str) else number(value)}"'
        for key, value in attributes.items()
        if value != ""
    )
    inner = (f"<title>{escape(clean(title))}</title>" if title else "") + content
    return f"<{name}{written}>{inner}</{name}>" if inner else f"<{name}{written}/>"


def text(x: float, y: float, value: str, class_: str = "", anchor: str = "") -> str:
    """Return text at a baseline point; `anchor` is start, middle or end."""
    return element("text", escape(clean(value)), x=x, y=y, class_=class_, text_anchor=anchor)


def rect(x: float, y: float, width: float, height: float, class_: str, title: str = "") -> str:
    """Return a rectangle."""
    return element("rect", "", title, x=x, y=y, width=width, height=height, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def polyline(points: Iterable[tuple[float, float]], class_: str) -> str:
    """Return an open line through points."""
    return element(
        "polyline", points=" ".join(f"{number(x)},{number(y)}" for x, y in points), class_=class_
    )


def circle(x: float, y: float, radius: float, class_: str, title: str = "") -> str:
    """Return a disc."""
    return element("circle", "", title, cx=x, cy=y, r=radius, class_=class_)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A finished chart: its size, its markup, and the words for who cannot see it."""

    width: float
    height: float
    body: str
    title: str
    description: str

    def inline(self, name: str) -> str:
        """Return the chart for an HTML page; `name` makes its ids unique there."""
        return self._svg(name, "", "")

    def standalone(self, style: str) -> str:
        """Return the chart as a file of its own with `style` inside."""
        background = rect(0, 0, self.width, self.height, "paper")
        namespace = ' xmlns="http://www.w3.org/2000/svg"'
        return self._svg("chart", namespace, f"<style>{style}</style>{background}") + "\n"

    def _svg(self, name: str, namespace: str, before: str) -> str:
        size = f"{number(self.width)} {number(self.height)}"
        return (
            f'<svg{namespace} class="chart" viewBox="0 0 {size}" role="img"'
            f' aria-labelledby="{name}-t {name}-d">'
            f'<title id="{name}-t">{escape(clean(self.title).replace("`", ""))}</title>'
            f'<desc id="{name}-d">{escape(clean(self.description))}</desc>{before}{self.body}</svg>'
        )


def legend(
    names: Sequence[str], classes: Sequence[str], width: float, x: float, y: float
) -> tuple[str, float]:
    """Return a row (or rows) of swatches with names from (x, y), and the height they take."""
    parts: list[str] = []
    left, top = x, y
    for name, class_ in zip(names, classes, strict=True):
        label = fit(name, width - x - 18)
        needed = 18 + text_px(label) + 16
        if left > x and left + needed - 16 > width:
            left, top = x, top + LINE_PX
        parts += [rect(left, top, 11, 11, class_), text(left + 17, top + 10, label)]
        left += needed
    return "".join(parts), (top - y + LINE_PX) if names else 0.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle that something occupies."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two share any area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def within(self, other: Box) -> bool:
        """Whether this one lies inside `other`."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


@dataclass(frozen=True, slots=True)
class Anchor:
    """A point that wants a label, with the radius of its own mark."""

    x: float
    y: float
    label: str
    radius: float = 4.0
    class_: str = ""


# Where a label may stand about its point: direction, and whether the text starts or ends there.
_DIRECTIONS = ((1, 0), (-1, 0), (1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1))


def place_labels(anchors: Sequence[Anchor], taken: Sequence[Box], bounds: Box) -> str:
    """Return labels beside their points, first come first served; one without room is left out.

    Args:
        anchors: the points, most important first; all are obstacles to every label.
        taken: other areas to keep free.
        bounds: where labels may stand.
    """
    occupied = [*taken]
    occupied += [
        Box(a.x - a.radius, a.y - a.radius, a.x + a.radius, a.y + a.radius) for a in anchors
    ]
    parts: list[str] = []
    for anchor in anchors:
        placed = _place(anchor, occupied, bounds)
        if placed is not None:
            markup, box = placed
            parts.append(markup)
            occupied.append(box)
    return "".join(parts)


def _place(anchor: Anchor, occupied: Sequence[Box], bounds: Box) -> tuple[str, Box] | None:
    label = fit(anchor.label, (bounds.right - bounds.left) * 0.6)
    width, height = text_px(label), 14.0
    for distance in (5.0, 16.0, 30.0):
        for dx, dy in _DIRECTIONS:
            reach = anchor.radius + distance
            x = anchor.x + dx * (reach if not dy else reach * 0.7)
            y = anchor.y + dy * (reach if dx == 0 else reach * 0.8)
            left = x if dx > 0 else x - width if dx < 0 else x - width / 2
            box = Box(left - 1, y - height / 2, left + width + 1, y + height / 2)
            if not box.within(bounds) or any(box.overlaps(other) for other in occupied):
                continue
            markup = text(left, y + 4.3, label, anchor.class_)
            if distance > 5:
                near = left if dx > 0 else left + width if dx < 0 else x
                markup = line(anchor.x, anchor.y, near - 2 * dx, y, "leader") + markup
            return markup, box
    return None
