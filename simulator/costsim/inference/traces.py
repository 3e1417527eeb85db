"""Recorded traffic: the Azure traces, results of `vllm bench serve`, and CSV files of one's own."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import numpy as np

from costsim.errors import Location, Problem, SpecError
from costsim.inference.traffic import Traffic

# Names of a column in any of the formats: Azure as published and as vidur has it, and our own.
_ARRIVAL = ("arrival_s", "arrived_at", "timestamp")
_INPUT = ("input_tokens", "num_prefill_tokens", "contexttokens", "prompt_tokens")
_OUTPUT = ("output_tokens", "num_decode_tokens", "generatedtokens", "completion_tokens")
_CACHED = ("cached_tokens",)
_BENCH = ("input_lens", "output_lens", "start_times", "request_rate")
_MOST_PROBLEMS = 10
_LONGEST_NAME = 200  # of a column or key, in characters
MOST_BYTES = 16 * 2**20  # about a million requests
"""Most bytes of a file of recorded traffic."""
_LARGEST = 1e12  # of a time in seconds or a length in tokens


def read_trace(path: str | Path) -> Traffic:
    """Read recorded traffic.

    A CSV has columns for arrival (seconds, or date and time), input and output tokens, under the
    names of the Azure LLM inference traces or `arrival_s`, `input_tokens`, `output_tokens` and, if
    there is one, `cached_tokens`. A JSON file is the detailed result of `vllm bench serve`.

    Raises:
        SpecError: if the file cannot be read, lacks a column, or has times that go back, negative
            or missing numbers: each with its line.
    """
    file = Path(path)
    try:
        with file.open("rb") as handle:
            raw = handle.read(MOST_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise SpecError(
            f"cannot read: {error.strerror or error}", location=Location(str(path))
        ) from None
    except UnicodeDecodeError:
        raise SpecError("not a text file in UTF-8", location=Location(str(path), 1)) from None
    if len(raw) > MOST_BYTES:
        hint = "replay a part of it: some thousand requests tell as much"
        raise SpecError(
            f"is larger than {MOST_BYTES / 2**20:g} MiB", location=Location(str(path), 1), hint=hint
        )
    if file.suffix == ".json":
        return _from_bench(text, str(path))
    return _from_csv(text, str(path))


def _from_csv(text: str, file: str) -> Traffic:
    reader = csv.reader(text.splitlines())
    try:
        return _from_rows(reader, file)
    except csv.Error as error:  # a cell of more than 100,000 characters
        location = Location(file, reader.line_num)
        raise SpecError(f"not a CSV file: {error}", location=location) from None


def _from_rows(reader: Any, file: str) -> Traffic:
    header = next(reader, None)
    if not header:
        raise SpecError("the file is empty", location=Location(file, 1))
    names = [name.strip().lower() for name in header]
    places = [_column(names, options) for options in (_ARRIVAL, _INPUT, _OUTPUT)]
    wanted = ("arrival_s", "input_tokens", "output_tokens")
    if None in places:
        present = ", ".join(f"`{name}`" for name in names)
        raise SpecError(
            [
                Problem(f"missing column `{name}`", Location(file, 1), f"there are {present}")
                for name, place in zip(wanted, places, strict=True)
                if place is None
            ]
        )
    _know_columns(names, file)
    cached = _column(names, _CACHED)
    columns = [*cast("list[int]", places), *([] if cached is None else [cached])]
    rows: list[list[float]] = []
    problems: list[Problem] = []
    before = 0.0
    dates: set[bool] = set()
    for cells in reader:
        if not any(cells):
            continue
        row: list[float] = []
        if len(cells) > len(names):
            fault = f"{len(cells)} cells in a row of {len(names)} columns"
            problems.append(Problem(fault, Location(file, reader.line_num)))
        for place in columns:
            value, fault = _number(cells, place, names[place])
            if fault:
                problems.append(Problem(fault, Location(file, reader.line_num)))
            row.append(value)
        if rows and row[0] < before:
            fault = f"column `{names[columns[0]]}`: {row[0]:g} is before the {before:g} above it"
            problems.append(
                Problem(fault, Location(file, reader.line_num), "sort the file by time")
            )
        dates.add(_is_date(cells[columns[0]]) if columns[0] < len(cells) else False)
        if len(dates) > 1 and not problems:
            fault = f"column `{names[columns[0]]}`: dates and seconds among each other"
            problems.append(Problem(fault, Location(file, reader.line_num), "write all alike"))
        before = row[0]
        rows.append(row)
        if len(problems) >= _MOST_PROBLEMS:
            break
    if problems:
        raise SpecError(problems)
    if not rows:
        raise SpecError("no requests in the file", location=Location(file, 1))
    table = np.array(rows).T
    return _traffic(table[0], table[1], table[2], table[3] if cached is not None else None)


def _know_columns(names: Sequence[str], file: str) -> None:
    """Refuse columns given twice and those whose name is nearly that of a missing one."""
    groups = (_ARRIVAL, _INPUT, _OUTPUT, _CACHED)
    known = [name for group in groups for name in group]
    absent = [group[0] for group in groups if _column(names, group) is None]
    place = Location(file, 1)
    problems = [
        Problem(f"column `{name}` stands twice", place, "leave one of them out")
        for name in known
        if names.count(name) > 1
    ]
    problems += _misspelt(names, known, absent, place)
    if problems:
        raise SpecError(problems)


def _misspelt(
    names: Sequence[str], known: Sequence[str], absent: Sequence[str], place: Location
) -> list[Problem]:
    problems: list[Problem] = []
    for name in names:
        if name in known:
            continue
        if len(name) > _LONGEST_NAME:
            problems.append(Problem(f"unknown name `{name[:40]}…`", place, "no name is so long"))
        elif near := get_close_matches(name.lower(), absent, n=1, cutoff=0.85):
            problems.append(Problem(f"unknown name `{name}`", place, f"did you mean `{near[0]}`?"))
    return problems


def _column(names: Sequence[str], options: Sequence[str]) -> int | None:
    return next((names.index(name) for name in options if name in names), None)


def _is_date(cell: str) -> bool:
    return "-" in cell.strip()[1:] and ":" in cell


def _number(cells: Sequence[str], place: int, name: str) -> tuple[float, str]:
    """Return the value of a cell, and what is wrong with it."""
    text = cells[place].strip() if place < len(cells) else ""
    if not text:
        return 0.0, f"column `{name}` is empty"
    try:
        value = float(text)
    except ValueError:
        try:
            value = datetime.fromisoformat(text[:26]).timestamp()
        except ValueError:
            return 0.0, f"column `{name}`: `{text[:40]}` is not a number"
    if not math.isfinite(value):
        return 0.0, f"column `{name}`: `{text[:40]}` is not finite"
    if not 0 <= value <= _LARGEST:
        return 0.0, f"column `{name}`: {text[:40]} is negative or out of range"
    return value, ""


def _from_bench(text: str, file: str) -> Traffic:
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice.extend(name for name in _BENCH if names.count(name) > 1)
        return dict(pairs)

    try:
        loaded: Any = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        where = Location(file, error.lineno, error.colno)
        raise SpecError(f"not JSON: {error.msg}", location=where) from None
    except (RecursionError, ValueError):  # nesting, or an integer of thousands of digits
        raise SpecError(
            "not JSON: nested too deep or a number too long", location=Location(file)
        ) from None
    found = cast("dict[str, Any]", loaded) if isinstance(loaded, dict) else {}
    absent = [name for name in _BENCH if name not in found]
    place = Location(file, 1, 1)
    faults = [Problem(f"duplicate key `{name}`", place) for name in twice]
    faults += _misspelt(list(found), _BENCH, absent, place)
    if faults:
        raise SpecError(faults)
    missing = [name for name in ("input_lens", "output_lens") if name not in found]
    if missing:
        listed = " and ".join(f"`{name}`" for name in missing)
        raise SpecError(
            f"no {listed} in it",
            location=place,
            hint="run `vllm bench serve` with --save-result --save-detailed",
        )
    problems: list[str] = []
    inputs, outputs = (_numbers(found, name, problems) for name in ("input_lens", "output_lens"))
    arrival = np.zeros(len(inputs))
    rate: Any = found.get("request_rate")
    if "start_times" in found:
        arrival = _numbers(found, "start_times", problems)
    elif isinstance(rate, int | float) and not isinstance(rate, bool) and np.isfinite(rate):
        if len(inputs) / _LARGEST < rate <= _LARGEST:
            arrival = np.arange(len(inputs)) / float(rate)
        else:
            problems.append(f"`request_rate` must be above 0 and in range, not {rate:g}")
    if problems:
        raise SpecError([Problem(problem, place) for problem in problems])
    if not len(inputs) or len(inputs) != len(outputs) or len(inputs) != len(arrival):
        lengths = f"{len(inputs)}, {len(outputs)} and {len(arrival)}"
        raise SpecError(f"lists of unequal length, or empty: {lengths}", location=place)
    order = np.argsort(arrival, kind="stable")
    return _traffic(arrival[order], inputs[order], outputs[order], None)


def _numbers(
    found: dict[str, Any], name: str, problems: list[str]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a list of numbers of a result, from 0 to `_LARGEST`; what is wrong is noted."""
    values: Any = found[name]
    if not isinstance(values, list):
        problems.append(f"`{name}` is not a list of numbers")
        return np.zeros(0)
    listed = cast("list[Any]", values)
    for index, value in enumerate(listed):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= _LARGEST:
            problems.append(
                f"`{name}` has {str(value)[:40]!r} as value {index + 1}, no number in range"
            )
            return np.zeros(0)
    return np.array(listed, dtype=np.float64)


def _traffic(
    arrival: np.ndarray[Any, Any],
    inputs: np.ndarray[Any, Any],
    outputs: np.ndarray[Any, Any],
    cached: np.ndarray[Any, Any] | None,
) -> Traffic:
    prompt = np.maximum(inputs, 1).astype(np.int64)
    known = np.zeros(len(prompt), dtype=np.int64) if cached is None else cached.astype(np.int64)
    return Traffic(
        np.asarray(arrival - arrival[0], dtype=np.float64),
        prompt,
        np.maximum(outputs, 1).astype(np.int64),
        np.minimum(known, prompt - 1),
    )
