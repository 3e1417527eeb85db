"""What differs between two plans: inputs, how it runs, what it takes, and every budget line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from costsim.documents import load_document
from costsim.errors import Location, SpecError
from costsim.planning import plan
from costsim.planning.figures import said
from costsim.resources import data_folder

_UNITS = {
    "cost_usd": "usd",
    "days": "days",
    "step_time_s": "s",
    "device_hours": "device-hours",
    "running_device_hours": "device-hours",
    "energy_kwh": "kwh",
    "co2e_t": "t",
    "devices": "",
}
_RUNS = ("label", "option", "system", "precision", "software", "usd_per_device_hour")
_NESTED_RUNS = ("strategy", "layout")
_SECTIONS = ("Inputs", "Runs as", "Takes", "Budget")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs; None on the side that lacks it, `unit` of numbers as in figures."""

    section: str
    name: str
    before: Any
    after: Any
    unit: str | None = None

    @property
    def mark(self) -> str:
        """`+` only after, `−` only before, `~` in both but not equal."""
        if self.before is None:
            return "+"
        return "\u2212" if self.after is None else "~"

    @property
    def delta(self) -> float | None:
        """After less before in `unit`, an absent line being 0; None of what is no amount."""
        if self.unit is None:
            return None
        return float(self.after or 0.0) - float(self.before or 0.0)

    @property
    def ratio(self) -> float | None:
        """The change over what was before; None where that is nothing."""
        return self.delta / float(self.before) if self.delta is not None and self.before else None

    def side(self, value: Any) -> str:
        """Return a value of either side as people read it."""
        if value is None:
            return "none"
        return said(value, self.unit) if self.unit is not None else str(value)

    @property
    def change(self) -> str:
        """The change in words: `+$1,200 (+4.0%)`; nothing of what is no amount."""
        if self.delta is None or self.unit is None:
            return ""
        sign = "+" if self.delta > 0 else "\u2212"
        share = "" if self.ratio is None else f" ({self.ratio:+.1%})".replace("-", "\u2212")
        return f"{sign}{said(abs(self.delta), self.unit)}{share}"

    def to_dict(self) -> dict[str, Any]:
        """Return the change as plain values."""
        return {
            "section": self.section.lower().replace(" ", "_"),
            "name": self.name,
            "before": self.before,
            "after": self.after,
            "unit": self.unit,
            "delta": self.delta,
            "ratio": self.ratio,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that differs between two plans, by section."""

    before: str
    after: str
    changes: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.changes)

    def _sections(self) -> Iterator[tuple[str, list[Change]]]:
        for section in _SECTIONS:
            found = [one for one in self.changes if one.section == section]
            if found:
                yield section, found

    def to_json(self) -> str:
        """Return all changes as JSON."""
        content = {
            "schema_version": 1,
            "before": self.before,
            "after": self.after,
            "changes": [one.to_dict() for one in self.changes],
        }
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)

    def to_text(self) -> str:
        """Return one line a change, under the headings of their sections."""
        if not self:
            return f"{self.before} and {self.after}: no difference"
        lines = [f"{self.before} \u2192 {self.after}"]
        for section, found in self._sections():
            lines += ["", section]
            width = max(len(one.name) for one in found)
            for one in found:
                sides = f"{one.side(one.before)} \u2192 {one.side(one.after)}"
                lines.append(f"{one.mark} {one.name:<{width}}  {sides}  {one.change}".rstrip())
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """Return tables that fit a comment on a pull request."""
        if not self:
            return f"**{_cell(self.before)}** and **{_cell(self.after)}**: no difference"
        lines = [f"**{_cell(self.before)}** \u2192 **{_cell(self.after)}**"]
        for section, found in self._sections():
            lines += ["", f"| | {section} | before | after | change |", "|---|---|---:|---:|---:|"]
            for one in found:
                cells = (one.name, one.side(one.before), one.side(one.after), one.change)
                lines.append("| " + " | ".join((one.mark, *map(_cell, cells))) + " |")
        return "\n".join(lines)


def diff(
    before: str | Path | Mapping[str, Any],
    after: str | Path | Mapping[str, Any],
    settings: Sequence[str] = (),
) -> Difference:
    """Return what differs between two plans.

    Args:
        before: path of a scenario or of the JSON of a plan, the name of a packaged scenario, or a
            scenario as a mapping.
        after: the same.
        settings: overrides of both; a stored plan cannot be changed.

    Raises:
        SpecError: where either cannot be read.
        InfeasiblePlanError: where nothing fits either.
    """
    one, two = _planned(before, settings), _planned(after, settings)
    changes: list[Change] = []
    for section in _SECTIONS:
        left, right = _rows(section, one), _rows(section, two)
        for name in dict.fromkeys((*left, *right)):
            a, b = left.get(name), right.get(name)
            if a != b:
                changes.append(Change(section, name, a, b, _unit(section, name)))
    return Difference(_title(before, one), _title(after, two), tuple(changes))


def _planned(source: str | Path | Mapping[str, Any], settings: Sequence[str]) -> Mapping[str, Any]:
    """Return a plan as plain values: read, or made of a scenario."""
    if isinstance(source, Mapping):
        return plan(source, settings).to_dict()
    path = Path(source)
    if not path.exists() and not path.suffix:
        packaged = data_folder("scenarios") / f"{path.name}.yaml"
        path = packaged if packaged.exists() else path
    if path.suffix.lower() == ".json":
        value: Any = load_document(path).value
        if isinstance(value, dict) and "best" in value:
            missing = {"scenario", "budget"} - set(cast("dict[str, Any]", value))
            if missing:
                raise SpecError(
                    f"a plan without `{min(missing)}`",
                    location=Location(str(path)),
                    hint="`costsim plan SCENARIO --format json` writes a whole one",
                )
            whole = cast("dict[str, Any]", value)
            lines: Any = whole["budget"].get("lines") if _is_mapping(whole["budget"]) else None
            sound = _is_mapping(whole["best"]) and _is_mapping(whole["scenario"])
            if not sound or not isinstance(lines, list):
                raise SpecError(
                    "a damaged plan: `best`, `scenario` or `budget.lines` is not what it should be",
                    location=Location(str(path)),
                    hint="`costsim plan SCENARIO --format json` writes a whole one",
                )
            if settings:
                raise SpecError(
                    "a stored plan cannot be changed by settings",
                    location=Location(str(path)),
                    hint="compare scenarios, which are planned anew",
                )
            return whole
    return plan(path, settings).to_dict()


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _rows(section: str, planned: Mapping[str, Any]) -> dict[str, Any]:
    best: dict[str, Any] = planned["best"]
    match section:
        case "Inputs":
            return dict(_flat("", planned["scenario"]))
        case "Runs as":
            nested = [pair for key in _NESTED_RUNS for pair in _flat(key, best.get(key, {}))]
            return {**{key: best.get(key) for key in _RUNS}, **dict(nested)}
        case "Takes":
            return {key: best[key] for key in _UNITS if best.get(key) is not None}
        case _:
            return dict(_lines("", planned["budget"]["lines"]))


def _unit(section: str, name: str) -> str | None:
    return {"Takes": _UNITS.get(name), "Budget": "usd"}.get(section)


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value of nested mappings by its dotted path."""
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, Any]", value).items():
            yield from _flat(f"{path}.{key}" if path else key, inner)
    else:
        # what was read from JSON has lists where a plan has tuples
        yield path, list(cast("Any", value)) if isinstance(value, tuple) else value


def _lines(path: str, lines: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    """Yield the leaves of a budget by their path."""
    seen: dict[str, int] = {}
    for line in lines:
        name = f"{path} / {line['name']}" if path else line["name"]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = f"{name} ({seen[name]})"
        if line.get("children"):
            yield from _lines(name, line["children"])
        else:
            yield name, line["usd"]


def _title(source: str | Path | Mapping[str, Any], planned: Mapping[str, Any]) -> str:
    name = str(planned["scenario"].get("name", ""))
    return name if isinstance(source, Mapping) else f"{name} ({Path(source).name})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
