"""Quantities at the edge: text such as "3.35 TB/s" in, SI floats inside, text for people out.

Inside costsim a name ends in its unit and a value is a bare float. Only here do units have text.
GB is 10^9 bytes and GiB is 2^30; `b` is a bit and `B` a byte; a unit left out is an error.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from costsim.currencies import SIGNS, currencies
from costsim.errors import UnitError

HOURS_PER_MONTH = 730  # the mean month of cloud price lists: 8,760 h / 12
_HOUR = 3600

_NONE = {"": 1}
_DECIMAL = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_LARGE = {**_DECIMAL, "P": 10**15, "E": 10**18, "Z": 10**21}
_MICRO = Fraction(1, 10**6)
_SMALL = {"": 1, "m": 1000 * _MICRO, "u": _MICRO, "µ": _MICRO, "μ": _MICRO, "n": _MICRO / 1000}
_DATA = {**_LARGE, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_WORDS = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_COUNT = {**_DECIMAL, "B": 10**9, **_WORDS}

# names of a unit, kind of quantity, size in the kind's base unit, prefixes it takes
_TABLE = (
    ("B byte bytes", "data", 1, _DATA),
    ("b bit bits", "data", Fraction(1, 8), _DATA),
    ("FLOP FLOPs flop flops OP OPs", "operations", 1, _LARGE),
    ("s sec second seconds", "time", 1, _SMALL),
    ("min minute minutes", "time", 60, _NONE),
    ("h hr hour hours", "time", _HOUR, _NONE),
    ("d day days", "time", 24 * _HOUR, _NONE),
    ("week weeks", "time", 7 * 24 * _HOUR, _NONE),
    ("month months", "time", HOURS_PER_MONTH * _HOUR, _NONE),
    ("year years", "time", 12 * HOURS_PER_MONTH * _HOUR, _NONE),
    ("W watt watts", "power", 1, {**_LARGE, **_SMALL}),
    ("J joule joules", "energy", 1, {**_LARGE, **_SMALL}),
    ("Wh", "energy", _HOUR, _DECIMAL),
    ("Hz", "frequency", 1, _DECIMAL),
    ("$ USD usd", "money", 1, _COUNT),
    ("g", "mass", 1, {"": 1, "k": 1000}),
    ("t", "mass", 10**6, _NONE),
    ("L l litre litres liter liters", "volume", 1, {"": 1, "m": Fraction(1, 1000)}),
    ("token tokens", "tokens", 1, _COUNT),
    ("sample samples image images", "samples", 1, _COUNT),
    ("device-h device-hour device-hours GPU-h GPU-hour GPU-hours", "device time", 1, _COUNT),
    ("%", "ratio", Fraction(1, 100), _NONE),
)
_UNITS: dict[str, tuple[str, Fraction]] = {
    prefix + name: (kind, Fraction(scale) * size)
    for names, kind, size, prefixes in _TABLE
    for name in names.split()
    for prefix, scale in prefixes.items()
}


class Dimension(NamedTuple):
    """What is divided by what, and how much of it is one of the unit used inside."""

    numerator: str
    denominator: str  # "" = none
    size: Fraction  # of the unit used inside, in base units of numerator / denominator
    examples: str


DIMENSIONS: dict[str, Dimension] = {
    "bytes": Dimension("data", "", Fraction(1), "`80 GB` or `64 GiB`"),
    "bytes_per_s": Dimension("data", "time", Fraction(1), "`3.35 TB/s` or `400 Gb/s`"),
    "s": Dimension("time", "", Fraction(1), "`34 days`, `1.5 h` or `20 ms`"),
    "flops": Dimension("operations", "", Fraction(1), "`3.1e23 FLOP`"),
    "flops_per_s": Dimension("operations", "time", Fraction(1), "`989 TFLOP/s`"),
    "w": Dimension("power", "", Fraction(1), "`700 W`"),
    "j": Dimension("energy", "", Fraction(1), "`1.2 MWh` or `5 J`"),
    "hz": Dimension("frequency", "", Fraction(1), "`1.98 GHz`"),
    "usd": Dimension("money", "", Fraction(1), "`25000 $` or `4.5 M$`"),
    "usd_per_hour": Dimension("money", "time", Fraction(1, _HOUR), "`2.5 $/h`"),
    "usd_per_kwh": Dimension("money", "energy", Fraction(1, 1000 * _HOUR), "`0.08 $/kWh`"),
    "g_per_kwh": Dimension("mass", "energy", Fraction(1, 1000 * _HOUR), "`50 g/kWh`"),
    "kg": Dimension("mass", "", Fraction(1000), "`318 kg`"),
    "l_per_kwh": Dimension("volume", "energy", Fraction(1, 1000 * _HOUR), "`0.15 L/kWh`"),
    "device_hours": Dimension("device time", "", Fraction(1), "`12000 GPU-h`"),
    "tokens": Dimension("tokens", "", Fraction(1), "`300 B tokens` or `300e9 tokens`"),
    "tokens_per_s": Dimension("tokens", "time", Fraction(1), "`2000 tokens/s`"),
    "samples": Dimension("samples", "", Fraction(1), "`115 M samples` or `1281167`"),
    "ratio": Dimension("ratio", "", Fraction(1), "`0.9` or `90 %`"),
}
_LONGEST = 200  # characters of a quantity: its number, its unit, and blanks around them
_LARGEST = 10**33  # in SI units, beyond anything a plan can mean; figures of it stay finite
# Where a bare number leaves nothing open: tokens and samples have one unit, a ratio has none.
BARE_DIMENSIONS = frozenset({"tokens", "samples", "ratio"})
_COUNTED = frozenset({"tokens", "samples"})  # whose unit may be left out of "2T tokens"

_QUANTITY = re.compile(
    r"\s*(?P<currency>[$€£]?)\s*(?P<number>[-+]?(?:\d{1,30}\.?\d{0,30}|\.\d{1,30})(?:[eE][-+]?\d{1,3})?)"
    r"\s*(?P<unit>.{0,40}?)\s*"
)


def parse_quantity(value: object, dimension: str) -> float:
    """Return the quantity `value`, such as "80 GB", in the unit that `dimension` names.

    Args:
        value: text with a unit; a bare number only where no unit can be missed (counts, ratio).
        dimension: the unit used inside, as names end in it: `bytes`, `bytes_per_s`, `s`, `w`, ...

    Raises:
        UnitError: if the unit is missing, unknown, or of another dimension.
    """
    wanted = DIMENSIONS[dimension]
    # stripped and clipped first: a run of blanks would be tried at every length
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if not match or isinstance(value, bool):
        raise UnitError(f"`{_clip(value)}` is not a quantity", hint=f"write {wanted.examples}")
    unit = match["unit"]
    if match["currency"]:  # "$2.5M/h" is "2.5 M$/h"
        count, slash, rest = unit.partition("/")
        unit = f"{count.strip()}{match['currency']}{slash}{rest}"
    number = Fraction(match["number"])
    if dimension in _COUNTED and unit in _COUNT:
        return _float(number * _COUNT[unit])
    if not unit:
        if dimension not in BARE_DIMENSIONS:
            raise UnitError(f"`{_clip(value)}` has no unit", hint=f"write {wanted.examples}")
        return _float(number)
    return _float(number * _factor(unit, dimension))


def unit_examples(dimension: str) -> str:
    """Return how quantities of `dimension` are written, for hints: "`80 GB` or `64 GiB`"."""
    return DIMENSIONS[dimension].examples


def to_si(value: float, unit: str, dimension: str) -> float:
    """Return `value` given in `unit` (3.35, "TB/s") in the unit that `dimension` names.

    Raises:
        UnitError: if the unit is unknown or of another dimension.
    """
    return _float(Fraction(str(value)) * _factor(unit, dimension))


def _float(exact: Fraction) -> float:
    if abs(exact) > _LARGEST:
        raise UnitError("the number is too large", hint="is the exponent right?")
    return float(exact)


@lru_cache(maxsize=512)
def _factor(unit: str, dimension: str) -> Fraction:
    """Return how many of the dimension's unit one `unit` is."""
    wanted = DIMENSIONS[dimension]
    text = re.sub(r"(FLOP|OP)S$", r"\1/s", unit)  # TFLOPS, TOPS
    text = re.sub(r"([bB])ps$", r"\1/s", text)  # Gbps
    text = re.sub(r"CO2(e|eq)?\b", "", text)  # gCO2e/kWh
    numerator, _, denominator = text.partition("/")
    if wanted.numerator == "money":  # $/GPU-hour is $/h of one device
        denominator = re.sub(r"^\s*(GPU|TPU|gpu|device|accelerator|chip)[- ]", "", denominator)
    kind, size = _atom(numerator, unit, wanted)
    per, per_size = _atom(denominator, unit, wanted) if denominator else ("", Fraction(1))
    if (kind, per) != (wanted.numerator, wanted.denominator):
        got, need = (f"{n} per {d}" if d else n for n, d in ((kind, per), wanted[:2]))
        raise UnitError(f"`{unit}` measures {got}, not {need}", hint=f"write {wanted.examples}")
    return size / per_size / wanted.size


def _in_other_currency(name: str) -> Fraction | None:
    """Return dollars of a unit such as `EUR`, `kEUR` or `M€`; None where it is of no currency."""
    match = re.fullmatch(r"(thousand|million|billion|trillion|[kKMGTB]?)([A-Z]{3}|[€£])", name)
    known = currencies().get(SIGNS.get(match[2], match[2])) if match else None
    return None if match is None or known is None else _COUNT[match[1]] * known.usd


def _atom(text: str, unit: str, wanted: Dimension) -> tuple[str, Fraction]:
    name = re.sub(r"\s+", "", text)
    if name in _UNITS:
        return _UNITS[name]
    if wanted.numerator == "money" and (other := _in_other_currency(name)) is not None:
        return "money", other
    same = sorted({known for known in _UNITS if known.lower() == name.lower()})
    near = " or ".join(f"`{known}`" for known in same)
    hint = f"capitals matter: write {near}" if same else f"write {wanted.examples}"
    raise UnitError(f"unknown unit `{unit}`", hint=hint)


def _clip(value: object, width: int = 40) -> str:
    text = str(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def _three_digits(value: float) -> str:
    """Return `value` with three significant digits, never in exponent form above 1e-3."""
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def format_si(value: float, unit: str = "") -> str:
    """Return `value` with three significant digits and a decimal prefix: "140 TFLOP/s"."""
    if not math.isfinite(value):
        return "n/a"
    prefix, scale = "", 1
    for candidate, size in _LARGE.items():
        if candidate != "K" and abs(value) >= 0.9995 * size:
            prefix, scale = candidate, size
    return f"{_three_digits(value / scale)} {prefix}{unit}".rstrip()


def format_bytes(value_bytes: float) -> str:
    """Return bytes in decimal units: 76.4e9 is "76.4 GB"."""
    return format_si(value_bytes, "B")


def format_flops(value_flops: float, *, per_second: bool = False) -> str:
    """Return a count of floating-point operations, or a rate: "314 ZFLOP", "140 TFLOP/s"."""
    return format_si(value_flops, "FLOP/s" if per_second else "FLOP")


def format_duration(value_s: float) -> str:
    """Return seconds in the unit a person would use, from "12 us" to "34.2 days"."""
    if not math.isfinite(value_s):
        return "n/a"
    if value_s == 0:
        return "0 s"
    steps = ((1e-6, 1e-9, "ns"), (1e-3, 1e-6, "us"), (1.0, 1e-3, "ms"), (120.0, 1.0, "s"))
    steps += ((2.0 * _HOUR, 60.0, "min"), (48.0 * _HOUR, float(_HOUR), "h"))
    for below, size, unit in steps:
        if abs(value_s) < 0.9995 * below:
            return f"{_three_digits(value_s / size)} {unit}"
    return f"{_three_digits(value_s / (24 * _HOUR))} days"


def format_usd(value_usd: float) -> str:
    """Return dollars: whole from $1,000, cents below, three digits under ten cents."""
    if not math.isfinite(value_usd):
        return "n/a"
    size = abs(value_usd)
    text = f"{size:,.0f}" if size >= 999.995 else f"{size:.2f}" if size >= 0.1 else f"{size:.3g}"
    if "e" in text:  # in full: money is not read in powers of ten
        text = f"{size:.{2 - math.floor(math.log10(size))}f}".rstrip("0")
    return f"{'-' if value_usd < 0 else ''}${text}"
