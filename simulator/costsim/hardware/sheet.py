"""One catalog file being read: typed access to its keys, and every problem with its place.

Packaged files and a user's own go through the same checks. Only a user's file is read with line
numbers; packaged files take PyYAML's C loader, which is several times faster.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from costsim.errors import Location, Problem, UnitError, suggestion
from costsim.units import to_si

Path_ = tuple[str | int, ...]

RECORD_KEYS = ("value", "unit", "basis", "source", "read_on", "note")
# A number of things, or a year: no unit to convert. The words are what `unit` may say.
_PLAIN = {"count": ("units", "devices"), "year": ("year",), "ratio": ("ratio",)}
_RANGES = {"count": (1, 1e9), "year": (1950, 2100), "ratio": (1e-6, 1e6)}
_RANGE = 1e-15, 1e21  # of what has a unit, as printed: what is beyond is a slip of the pen
_WRITTEN = re.compile(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(.*?)\s*")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of the catalog as its source prints it, with where it comes from.

    Attributes:
        value: the printed number, in `unit`.
        unit: as printed ("TFLOP/s", "GB/s", "MiB", "devices").
        basis: how far to trust it; docs/hardware.md lists the words ("checked", "recalled", ...).
        source: keys of hardware_specs/sources.yaml joined by ", ", or a text.
        read_on: the day the source was read, ISO format; "" where a user's file does not say.
        note: what else a reader must know, such as who disagrees.
    """

    value: float
    unit: str
    basis: str
    source: str
    read_on: str = ""
    note: str = ""


class Sheet:
    """A mapping of a catalog file; collects problems in a list shared by all its parts."""

    def __init__(
        self,
        value: Any,
        locate: Callable[[Sequence[str | int], bool], Location],
        problems: list[Problem],
        path: Path_ = (),
    ) -> None:
        self._locate, self.problems, self.path = locate, problems, path
        self.mapping: Mapping[str, Any] = {}
        if isinstance(value, Mapping):
            self.mapping = cast("Mapping[str, Any]", value)
        else:
            self.problem(f"{self._name()} must be a mapping of keys to values")

    def _name(self, key: str | int | None = None) -> str:
        path = self.path if key is None else (*self.path, key)
        return f"`{'.'.join(str(step) for step in path)}`" if path else "the file"

    def problem(
        self, message: str, key: str | None = None, hint: str | None = None, at_key: bool = False
    ) -> None:
        """Note a problem at `key` (or at this mapping)."""
        path = self.path if key is None else (*self.path, key)
        self.problems.append(Problem(message, self._locate(path, at_key), hint))

    def allow(self, keys: Iterable[str]) -> None:
        """Note every key that is not in `keys`."""
        known = tuple(keys)
        for key in self.mapping:
            if key not in known:
                self.problem(
                    f"unknown key {self._name(key)}", key, suggestion(str(key), known), at_key=True
                )

    def part(self, key: str) -> Sheet:
        """Return the mapping under `key`, empty where the file has none."""
        value = self.mapping.get(key)
        empty: dict[str, Any] = {}
        value = empty if value is None else value
        return Sheet(value, self._locate, self.problems, (*self.path, key))

    def parts(self, key: str) -> list[Sheet]:
        """Return the mappings in the list under `key`, none where the file has no such key."""
        value = self.mapping.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.problem(f"{self._name(key)} must be a list", key)
            return []
        return [
            Sheet(item, self._locate, self.problems, (*self.path, key, index))
            for index, item in enumerate(cast("list[Any]", value))
        ]

    def text(self, key: str, *, required: bool = False) -> str:
        """Return the text under `key`, "" where there is none."""
        value = self.mapping.get(key)
        if value is None:
            if required:
                self.problem(f"missing key {self._name(key)}")
            return ""
        if isinstance(value, list | dict) or (required and not str(value).strip()):
            self.problem(f"{self._name(key)} must be text", key)
            return ""
        return str(value)

    def flag(self, key: str) -> bool:
        """Return the truth value under `key`, false where there is none."""
        value = self.mapping.get(key, False)
        if not isinstance(value, bool):
            self.problem(f"{self._name(key)} must be true or false", key)
            return False
        return value

    def whole(self, key: str) -> int | None:
        """Return the whole number above zero under `key`."""
        value = self.mapping.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.problem(f"{self._name(key)} must be a whole number above 0", key)
            return None
        return value

    def figure(
        self, key: str, dimension: str, *, required: bool = False
    ) -> tuple[float | None, Figure | None]:
        """Return the number under `key` in SI units of `dimension`, and its record.

        The file may write a record `{value, unit, basis, source, read_on, note}` or a text with
        its unit ("3.35 TB/s"); a number of things needs no unit.
        """
        raw = self.mapping.get(key)
        if raw is None:
            if required:
                self.problem(f"missing key {self._name(key)}")
            return None, None
        record = _as_record(raw, dimension)
        if record is None:
            hint = "write `{value: 3.35, unit: TB/s, source: ...}` or `3.35 TB/s`"
            self.problem(f"{self._name(key)} is not a number with its unit", key, hint)
            return None, None
        before = len(self.problems)
        if isinstance(raw, Mapping):
            Sheet(cast("Any", raw), self._locate, self.problems, (*self.path, key)).allow(
                RECORD_KEYS
            )
        value, figure = record
        si = self._to_si(key, value, figure.unit, dimension)
        return (si, figure) if len(self.problems) == before else (None, None)

    def _to_si(self, key: str, value: float, unit: str, dimension: str) -> float:
        if not math.isfinite(value) or value <= 0:
            hint = "leave out a number that is not known"
            self.problem(f"{self._name(key)} must be above 0, not {value:g}", key, hint)
            return math.nan
        low, high = _RANGES.get(dimension, _RANGE)
        if not low <= value <= high:
            message = f"{self._name(key)} must be between {low:g} and {high:g}, not {value:g}"
            self.problem(message, key)
            return math.nan
        if dimension in _PLAIN:
            if unit and unit not in _PLAIN[dimension]:
                hint = f"leave the unit out, or write `{_PLAIN[dimension][0]}`"
                self.problem(f"{self._name(key)} has no unit `{unit}`", key, hint)
            return value
        try:
            return to_si(value, unit, dimension)
        except UnitError as error:
            for problem in error.problems:
                message = problem.message if unit else "has no unit"
                self.problem(f"{self._name(key)}: {message}", key, problem.hint)
            return math.nan


def _as_record(raw: Any, dimension: str) -> tuple[float, Figure] | None:
    """Return the printed number and its record, or None where `raw` is neither form."""
    fields: Mapping[str, Any] = {}
    if isinstance(raw, Mapping):
        fields = cast("Mapping[str, Any]", raw)
        number, unit = fields.get("value"), str(fields.get("unit", ""))
    elif isinstance(raw, str):
        match = _WRITTEN.fullmatch(raw)
        if not match:
            return None
        try:
            number, unit = float(match[1]), match[2]
        except ValueError:  # "1.2.3"
            return None
    else:
        number, unit = raw, ""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    source: Any = fields.get("source", "")
    listed = cast("list[Any]", source) if isinstance(source, list) else [source]
    figure = Figure(
        number,
        unit,
        str(fields.get("basis", "stated")),
        ", ".join(str(item) for item in listed),
        str(fields.get("read_on", "")),
        str(fields.get("note", "")),
    )
    return float(number), figure
