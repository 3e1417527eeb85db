"""Raw numbers to text, once for all renderers: alone, in a column of one unit, and in exact sums.

Alone, a number takes the unit that suits it (`costsim.units`). In a column or on an axis all
numbers share one unit, which the header carries. Where numbers are summed, each is rounded so that
the printed lines add up to the printed total (largest remainders).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from costsim import units
from costsim.cells import clean as clean
from costsim.reporting.model import Cell, Kind, NoteKind, Quantity, Report, is_known

MISSING = "–"
NOTE_TITLES: dict[NoteKind, str] = {
    "warning": "Warnings",
    "fallback": "Fallbacks: what stands in for something unknown",
    "assumption": "Assumptions",
    "excluded": "Not included",
}
_COUNT_STEPS = ((1e12, " T"), (1e9, " B"), (1e6, " M"))
_SI_STEPS = ((1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_TIME_STEPS = (  # the largest value that still reads well, the unit's size in seconds, its name
    (1e-6, 1e-9, "ns"),
    (1e-3, 1e-6, "us"),
    (1.0, 1e-3, "ms"),
    (120.0, 1.0, "s"),
    (7_200.0, 60.0, "min"),
    (172_800.0, 3_600.0, "h"),
)
_SI_UNITS: dict[Kind, str] = {
    "bytes": "B",
    "bytes_per_s": "B/s",
    "flops": "FLOP",
    "flops_per_s": "FLOP/s",
}
_WIDE_RANGE = 1e4  # a column spanning more than this cannot share one unit readably


def format_value(value: Cell, kind: Kind = "text", unit: str = "") -> str:
    """Return one value alone, in the unit that suits it; None and NaN are a dash."""
    if isinstance(value, Quantity):
        return format_value(value.value, value.kind, value.unit)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return clean(value)
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return _with_unit(*_number(value, kind, unit))


def format_range(low: float | None, high: float | None, kind: Kind, unit: str = "") -> str:
    """Return "31.2 – 37.4 days", or nothing where either end is unknown."""
    if not (is_known(low) and is_known(high)):
        return ""
    low_text, high_text = format_value(low, kind, unit), format_value(high, kind, unit)
    number, _, low_unit = low_text.partition(" ")
    same_unit = low_unit == high_text.partition(" ")[2]
    return f"{number if same_unit else low_text} – {high_text}"


@dataclass(frozen=True, slots=True)
class Scale:
    """One unit for many numbers: `value / size` with `decimals`, between prefix and suffix."""

    size: float
    decimals: int
    prefix: str = ""
    suffix: str = ""

    def text(self, value: float | int | None) -> str:
        """Return the number without its unit; what would wrongly round to zero says so."""
        if value is None or math.isnan(value):
            return MISSING
        if math.isinf(value):
            return "∞" if value > 0 else "-∞"
        smallest = 10.0**-self.decimals
        scaled = value / self.size
        if scaled and abs(scaled) < smallest / 2:
            return f"{'' if scaled > 0 else '-'}<{self.prefix}{smallest:.{self.decimals}f}"
        text = f"{abs(scaled):,.{self.decimals}f}"
        negative = scaled < 0 and text.strip("0.,")
        return f"{'-' if negative else ''}{self.prefix}{text}"

    def full(self, value: float | int | None) -> str:
        """Return the number with its unit."""
        text = self.text(value)
        return text if text == MISSING else _with_unit(text, self.suffix)

    @property
    def step(self) -> float:
        """The smallest printed difference, in raw units."""
        return self.size * 10.0**-self.decimals


def scale_for(
    values: Iterable[float | int | None], kind: Kind, unit: str = "", *, short: bool = False
) -> Scale:
    """Return the unit and precision that suit all `values` together.

    Args:
        values: raw numbers; unknown ones are ignored.
        kind: what they are.
        unit: the unit's name, for the kinds that do not imply it.
        short: whether dollars and counts may be shortened to $M and billions, as on an axis.
    """
    known = [abs(value) for value in values if value is not None and is_known(value)]
    largest = max(known, default=0.0)
    whole = all(value == int(value) for value in known)
    match kind:
        case "usd":
            return _usd_scale(largest, short)
        case "seconds":
            size, suffix = next(
                ((size, name) for below, size, name in _TIME_STEPS if largest < below),
                (86_400.0, "days"),
            )
            return Scale(size, _decimals(largest / size), "", suffix)
        case "ratio":
            return Scale(0.01, 1 if largest < 1 else 0, "", "%")
        case "count":
            if largest >= 1e9 or (short and largest >= 1e6):
                size, letter = next(step for step in _COUNT_STEPS if largest >= step[0])
                # Four digits: models are told apart by them (174.6 B parameters).
                return Scale(size, _decimals(largest / size) + 1, "", f"{letter} {unit}".strip())
            return Scale(1.0, 0 if whole else _decimals(largest), "", unit)
        case "number" | "text":
            return Scale(1.0, 0 if whole else _decimals(largest), "", unit)
        case _:
            name = _SI_UNITS.get(kind, unit)
            size, letter = next((s for s in _SI_STEPS if largest >= s[0]), (1.0, ""))
            exact = whole and size == 1.0
            return Scale(size, 0 if exact else _decimals(largest / size), "", f"{letter}{name}")


def format_column(
    values: Sequence[Cell],
    kind: Kind,
    unit: str = "",
    *,
    total: bool = False,
    scale: Scale | None = None,
) -> tuple[str, list[str], str]:
    """Return (header unit, cells, printed total) of a column.

    The cells share one unit unless they span more than four decades. With `total`, they are rounded
    so that they add up to the total as printed. A given `scale` is kept.
    """
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if kind == "text" or len(numbers) + values.count(None) < len(values):
        return "", [format_value(value, kind, unit) for value in values], ""
    known = [abs(v) for v in numbers if is_known(v) and v]
    if not (total or scale) and known and max(known) / min(known) > _WIDE_RANGE:
        return "", [format_value(value, kind, unit) for value in values], ""
    if not total:
        scale = scale or _fine_enough(scale_for(numbers, kind, unit), known)
        return scale.suffix, [scale.text(n) for n in _numbers_or_none(values)], ""
    parts = [n if is_known(n) else None for n in _numbers_or_none(values)]
    sum_of_parts = math.fsum(part for part in parts if part is not None)
    scale = scale or scale_for([*numbers, sum_of_parts], kind, unit)
    rounded = apportion(parts, sum_of_parts, scale.step)
    return scale.suffix, [scale.text(part) for part in rounded], scale.text(sum_of_parts)


def apportion(parts: Sequence[float | int | None], total: float, step: float) -> list[float | None]:
    """Round `parts` to multiples of `step` that add up to `total` rounded (largest remainders).

    Args:
        parts: raw numbers that sum to `total`; None stays None.
        total: their sum.
        step: the printed precision, in the unit of `parts`.
    """
    floors = [None if part is None else math.floor(part / step) for part in parts]
    missing = round(total / step) - sum(floor for floor in floors if floor is not None)
    by_remainder = sorted(
        (index for index, part in enumerate(parts) if part is not None),
        key=lambda index: floors[index] - parts[index] / step,  # type: ignore[operator]
    )
    raised = set(by_remainder[:missing]) if missing > 0 else set[int]()
    return [
        None if floor is None else (floor + (index in raised)) * step
        for index, floor in enumerate(floors)
    ]


def _fine_enough(scale: Scale, known: Sequence[float | int]) -> Scale:
    """Return `scale` with up to two more decimals where the smallest value needs them."""
    if all(value == int(value) for value in known) and scale.size == 1.0:
        return scale
    wanted = _decimals(min(known, default=1.0) / scale.size) - 1
    decimals = max(scale.decimals, min(wanted, scale.decimals + 2))
    return Scale(scale.size, decimals, scale.prefix, scale.suffix)


def _numbers_or_none(values: Sequence[Cell]) -> list[float | int | None]:
    return [v if isinstance(v, int | float) else None for v in values]


def _number(value: float | int, kind: Kind, unit: str) -> tuple[str, str]:
    """Return the text of a finite number and its unit, apart only where a space must part them."""
    match kind:
        case "bytes":
            return units.format_bytes(value), ""
        case "bytes_per_s":
            return units.format_si(value, "B/s"), ""
        case "flops":
            return units.format_flops(value), ""
        case "flops_per_s":
            return units.format_flops(value, per_second=True), ""
        case "seconds":
            return units.format_duration(value), ""
        case "usd":
            return units.format_usd(value), unit
        case "si":
            return units.format_si(value, unit), ""
        case "number":
            return _significant(value), unit
        case "count" | "ratio" | "text":
            scale = scale_for([value], kind, unit)
            text = scale.text(value)
            return (_without_zeros(text) if kind != "ratio" else text), scale.suffix


def _with_unit(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit and not unit.startswith("/") else f"{text}{unit}"


def _significant(value: float | int) -> str:
    """Return at least three significant digits, and all digits before the point."""
    if isinstance(value, int):
        return f"{value:,}"
    decimals = _decimals(abs(value)) if value else 0
    return _without_zeros(f"{value:,.{decimals}f}")


def _without_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _usd_scale(largest: float, short: bool) -> Scale:
    if short and largest >= 1e4:
        steps = ((1e9, "B"), (1e6, "M"), (1e3, "k"))
        size, letter = next(step for step in steps if largest >= step[0])
        return Scale(size, _decimals(largest / size), "$", letter)
    if largest >= 999.995:  # as units.format_usd does
        return Scale(1.0, 0, "$")
    return Scale(1.0, 2 if largest >= 0.1 else _decimals(largest), "$")


def _decimals(largest: float) -> int:
    """Return the decimals that show `largest` with three significant digits."""
    if largest <= 0 or not math.isfinite(largest):
        return 0
    return min(max(2 - math.floor(math.log10(largest)), 0), 12)


def provenance_parts(report: Report) -> list[str]:
    """Return what made the report, part by part: tool, catalogue, input."""
    made = report.provenance
    parts = [f"costsim {made.tool_version}"]
    parts += [f"catalogue of {made.catalog_date}"] if made.catalog_date else []
    parts += [f"input {made.input_hash}"] if made.input_hash else []
    return parts
