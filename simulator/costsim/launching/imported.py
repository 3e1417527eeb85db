"""What a launch file says: settings by name, each used for a scenario or named as unused.

A reader is a table from a setting's name to where it belongs in a scenario, and a function for what
needs arithmetic. Nothing is dropped: what has no place in a scenario is in `unused`, with why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from costsim.errors import SpecError

Setting = str | int | float | bool | None
Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Imported:
    """A scenario read from a launch file, what became of each setting, and what is missing."""

    format: str
    scenario: dict[str, Any]
    used: dict[str, str]
    unused: dict[str, str]
    missing: tuple[str, ...]


@dataclass(slots=True)
class Settings:
    """Settings of a launch file while a reader takes them one by one."""

    values: Mapping[str, Any]
    scenario: dict[str, Any] = field(default_factory=dict[str, Any])
    used: dict[str, str] = field(default_factory=dict[str, str])
    unused: dict[str, str] = field(default_factory=dict[str, str])

    def take(self, name: str, path: str, convert: Convert | None = None) -> Any:
        """Put a setting at a path of the scenario (`a.b`); return its value, None where absent.

        A value that `convert` refuses (ValueError) is named as unused, with the reason.
        """
        if name not in self.values:
            return None
        try:
            value = self.values[name] if convert is None else convert(self.values[name])
        except (ValueError, TypeError) as error:
            self.unused[name] = f"`{self.values[name]}`: {error}"
            return None
        self.used[name] = path
        if value is not None and path:
            self.put(path, value)
        return value

    def get(self, name: str, convert: Convert, default: Any = None) -> Any:
        """Return a setting that a figure is computed from; `use` says where that figure went."""
        if name not in self.values:
            return default
        try:
            return convert(self.values[name])
        except (ValueError, TypeError) as error:
            self.unused[name] = f"`{self.values[name]}`: {error}"
            return default

    def use(self, path: str, *names: str) -> None:
        """Note that settings went into the figure at `path`."""
        self.used |= {n: path for n in names if n in self.values and n not in self.unused}

    def put(self, path: str, value: Any) -> None:
        """Set a value of the scenario."""
        *folders, last = path.split(".")
        place = self.scenario
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value

    def finish(self, name: str, needed: Mapping[str, str], reasons: Mapping[str, str]) -> Imported:
        """Return the result; settings that nothing took are unused.

        Args:
            name: of the format.
            needed: what a scenario cannot do without, by path, and how to state it.
            reasons: why a setting has no place in a scenario, by its name; others have none.
        """
        for setting in self.values:
            if setting not in self.used and setting not in self.unused:
                self.unused[setting] = reasons.get(setting, "costs nothing that is modelled")
        missing = tuple(hint for path, hint in needed.items() if not has(self.scenario, path))
        return Imported(name, self.scenario, self.used, self.unused, missing)


def has(scenario: Mapping[str, Any], path: str) -> bool:
    """Return whether a scenario has a value at a path (`a.b`)."""
    place: Any = scenario
    for part in path.split("."):
        if not isinstance(place, Mapping) or part not in place:
            return False
        place = cast("Mapping[str, Any]", place)[part]
    return True


def whole(value: Any) -> int:
    """Return a setting as a whole number of at least one.

    Raises:
        ValueError: if it is none.
    """
    if isinstance(value, bool):
        raise ValueError("not a number")
    number = float(str(value).replace("_", "").replace(",", ""))
    if number != int(number) or not 1 <= number < 1e18:
        raise ValueError("not a whole number of at least 1")
    return int(number)


def degree(value: Any) -> int | None:
    """Return a degree of parallelism; None for `-1`, what is left over."""
    return None if str(value) in ("-1", "auto", "None") else whole(value)


def flag(value: Any) -> bool:
    """Return a switch.

    Raises:
        ValueError: if it is none.
    """
    words = {"true": True, "1": True, "yes": True, "on": True, "": True}
    words |= {"false": False, "0": False, "no": False, "off": False, "none": False}
    word = str(value).strip().lower()
    if word not in words:
        raise ValueError("neither true nor false")
    return words[word]


def one_of(table: Mapping[str, Any]) -> Convert:
    """Return a converter from the words of a format to those of a scenario."""

    def convert(value: Any) -> Any:
        word = str(value).strip().lower()
        if word not in table:
            raise ValueError("known here are " + ", ".join(sorted(table)))
        return table[word]

    return convert


TRAINING_NEEDS = {
    "model": "model: a name that `costsim models` lists, or the path of a config.json",
    "workload.tokens": "workload.tokens: tokens of the whole run, such as `300 B tokens`",
    "workload.sequence": "workload.sequence: tokens of a sequence",
    "workload.global_batch": "workload.global_batch: sequences of an optimizer step",
    "hardware.system": "hardware.system: an id that `costsim hardware` lists",
    "hardware.devices": "hardware.devices: how many accelerators",
}
"""What a training scenario cannot do without, and how to state it."""


def refuse(what: str) -> SpecError:
    """Return the error of a file that is of no known format."""
    return SpecError(
        f"{what} is no launch file that is known",
        hint="known: Megatron-LM, NeMo and Megatron-Bridge, DeepSpeed, torchtitan, Hugging Face "
        "TrainingArguments, `vllm serve`",
    )
