"""What the settings of a format cannot say, as comments of its file that `init --from` reads.

A line is `costsim: workload.tokens = 300000000000 [3f2a91c0]`: the value of a scenario's key, and
what stood there as the settings alone are read. Where somebody has changed the settings since, they
say something else: then they count, and the line is named as unused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from costsim.launching.imported import Imported, has

KEY = "costsim"
"""Of a list of such lines where a format knows no comments (JSON)."""

ABOUT = "What these settings cannot say; `costsim init --from` reads it here."

_LINE = re.compile(rf"^\W*{KEY}: ([\w.-]+) = (.*) \[(-|[0-9a-f]{{8}})\]\W*$", re.MULTILINE)
_NESTED = ("workload", "hardware", "strategy")
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Carried:
    """A value of a scenario that a file's settings do not hold; `value` None takes a key away."""

    path: str
    value: Any
    instead: str

    def __str__(self) -> str:
        return f"{KEY}: {self.path} = {json.dumps(self.value)} [{self.instead}]"


def left_out(wanted: Mapping[str, Any], read: Mapping[str, Any]) -> list[Carried]:
    """Return what turns the scenario that settings are read as into the one that is wanted."""
    here, there = dict(_leaves(wanted)), dict(_leaves(read))
    found: list[Carried] = []
    for path in (*here, *(one for one in there if one not in here)):
        value, instead = here.get(path), there.get(path, _ABSENT)
        if instead is _ABSENT or _plain(value) != _plain(instead):
            found.append(Carried(path, value, _digest(instead)))
    return found


def carried_lines(text: str) -> list[Carried]:
    """Return the lines that a file carries; those that are no JSON are none."""
    found: list[Carried] = []
    for path, value, instead in _LINE.findall(text):
        try:
            found.append(Carried(path, json.loads(value), instead))
        except (ValueError, RecursionError):
            continue
    return found


def applied(imported: Imported, lines: list[Carried]) -> Imported:
    """Return what was imported with what its file carries beside the settings."""
    if not lines:
        return imported
    scenario = json.loads(json.dumps(imported.scenario))
    leaves = dict(_leaves(scenario))
    used, unused = dict(imported.used), dict(imported.unused)
    for line in lines:
        said = f"{KEY}: {line.path}"
        if _digest(leaves.get(line.path, _ABSENT)) != line.instead:
            unused[said] = "the settings of the file say otherwise"
            continue
        used[said] = line.path
        _set(scenario, line.path, line.value)
    missing = [hint for hint in imported.missing if not _stated(scenario, hint.partition(":")[0])]
    return replace(imported, scenario=scenario, used=used, unused=unused, missing=tuple(missing))


def _stated(scenario: Mapping[str, Any], path: str) -> bool:
    """Whether a scenario states a value, or counts in samples what it would be of."""
    samples = any(has(scenario, f"workload.{key}") for key in ("samples", "epochs"))
    return has(scenario, path) or (samples and path in ("workload.tokens", "workload.sequence"))


def _set(scenario: dict[str, Any], path: str, value: Any) -> None:
    folder, dot, key = path.rpartition(".")
    place = scenario.setdefault(folder, {}) if dot else scenario
    if value is None:
        place.pop(key, None)
    else:
        place[key] = value


def _leaves(scenario: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield values by path; what lies deeper than a key of the three large parts is one value."""
    for name, value in scenario.items():
        if name in _NESTED and isinstance(value, Mapping):
            for key, inner in cast("Mapping[str, Any]", value).items():
                yield f"{name}.{key}", inner
        else:
            yield name, value


def _plain(value: Any) -> str:
    """One spelling of equal values: 2 is 2.0 and [2]."""
    if isinstance(value, list | tuple) and len(cast("list[Any]", value)) == 1:
        value = cast("list[Any]", value)[0]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, default=str)


def _digest(value: Any) -> str:
    if value is _ABSENT:
        return "-"
    return hashlib.sha256(_plain(value).encode()).hexdigest()[:8]
