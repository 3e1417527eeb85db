"""Runs files: a CSV with one measured configuration a row; an empty cell is unknown.

A JSON file is what `vllm bench serve` saves (`costsim.validation.bench`).

What is wrong with one row is noted at that row, which is then not predicted; only a file that
cannot be read at all, or lacks a column that every prediction needs, is refused.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from costsim.errors import CostsimError, Location, Problem, SpecError, suggestion
from costsim.hardware.catalog import load_accelerator
from costsim.validation.account import Account, Cells
from costsim.validation.bench import bench_csv, is_bench
from costsim.validation.columns import Columns
from costsim.validation.formats import FORMATS, Format
from costsim.validation.places import Lines

_FIELD_CHARACTERS = 100_000
_ROW_CHARACTERS = 1_000_000
_FILE_BYTES = 64 * 2**20
_MOST_PROBLEMS = 200  # listed of a file


@dataclass(frozen=True, slots=True)
class Run:
    """One row: its texts and numbers by column, empty cells left out.

    `line` is where it starts in the file; `fault` says why it cannot be predicted, if it cannot;
    `unknown` are cells of columns that nobody knows. `account` notes what becomes of its cells.
    """

    id: str
    line: int
    text: Cells[str]
    number: Cells[float]
    account: Account
    fault: str = ""
    unknown: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(
        cls,
        identity: str,
        line: int,
        text: Mapping[str, str],
        number: Mapping[str, float],
        fault: str = "",
        unknown: Mapping[str, str] | None = None,
    ) -> Run:
        """Return a row of these cells."""
        account = Account()
        cells = Cells(text, account), Cells(number, account)
        return cls(identity, line, *cells, account, fault, unknown or {})

    @property
    def group(self) -> str:
        """Rows of one group are scored as one; a row without a group is its own."""
        return self.text.get("group") or self.id


@dataclass(frozen=True, slots=True)
class RunsFile:
    """All rows of a file, what is wrong with it, and what looks odd but does no harm."""

    format: Format
    runs: tuple[Run, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    @property
    def kind(self) -> str:
        """Name of its format."""
        return self.format.name


def read_runs(path: str | Path) -> RunsFile:
    """Read a runs file.

    Raises:
        SpecError: if there is no such file, it is no CSV in UTF-8, of none of the known formats,
            or lacks a column that every prediction needs.
    """
    file = str(path)
    try:
        with Path(path).open("rb") as handle:
            content = handle.read(_FILE_BYTES + 1)
    except FileNotFoundError:
        raise SpecError("no such file", location=Location(file)) from None
    except IsADirectoryError:
        raise SpecError("a folder, not a CSV file", location=Location(file)) from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", location=Location(file)) from None
    if len(content) > _FILE_BYTES:
        raise SpecError(
            f"larger than {_FILE_BYTES // 2**20} MiB",
            location=Location(file),
            hint="divide it into several files",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        message = f"not a CSV file in UTF-8 ({error.reason})"
        raise SpecError(message, location=Location(file, line, column)) from None
    if is_bench(text):
        text = bench_csv(text, file)
    lines = Lines(text, file, _ROW_CHARACTERS)
    csv.field_size_limit(_FIELD_CHARACTERS)
    reader = csv.reader(lines, strict=True)
    try:
        return _read(reader, lines)
    except csv.Error as error:
        raise SpecError(f"not a CSV file: {error}", location=lines.here()) from None


def _read(reader: Iterator[list[str]], lines: Lines) -> RunsFile:
    header = next(reader, None)
    if not header or not any(header):
        raise SpecError(
            "the file is empty",
            location=Location(lines.file, 1),
            hint="the first line names the columns",
        )
    names = [name.strip() for name in header]
    format_ = _format(names, lines.file)
    warnings = _odd_columns(names, format_, lines)
    problems: list[Problem] = []
    runs: list[Run] = []
    first_line: dict[str, int] = {}
    lines.next_row()
    for cells in reader:
        if any(cells):
            found: list[Problem] = []
            runs.append(_run(names, cells, format_.columns, lines, first_line, found))
            problems.extend(found[: _MOST_PROBLEMS - len(problems)])
        lines.next_row()
    faulty = sum(bool(run.fault) for run in runs)
    if len(problems) >= _MOST_PROBLEMS:
        problems.append(Problem(f"{faulty:,} rows have mistakes in all", Location(lines.file)))
    return RunsFile(format_, tuple(runs), tuple(problems), tuple(warnings))


def _run(
    names: list[str],
    cells: list[str],
    known: Columns,
    lines: Lines,
    first_line: dict[str, int],
    problems: list[Problem],
) -> Run:
    """Return the row, and add what is wrong with it to `problems`.

    `first_line` holds the lines of ids so far, to which its own is added.
    """
    text: dict[str, str] = {}
    number: dict[str, float] = {}
    unknown: dict[str, str] = {}

    def problem(message: str, place: int, hint: str | None = None) -> None:
        problems.append(Problem(message, lines.place(place), hint))

    if len(cells) != len(names):
        problem(f"{len(cells)} cells in a file of {len(names)} columns", 0)
    for place, (name, cell) in enumerate(zip(names, cells, strict=False)):
        cell, column = cell.strip(), known.get(name)
        if not cell:
            continue
        if column is None:
            unknown[name] = cell
            continue
        try:
            value = column.parse(cell)
        except ValueError as error:
            problem(f"column `{name}`: {error}", place)
            continue
        if isinstance(value, str):
            text[name] = value
        else:
            number[name] = value
    device = text.get("accelerator_id", "")
    if device and (wrong := _unknown_device(device)):
        place = names.index("accelerator_id")
        problem(f"column `accelerator_id`: {wrong.message}", place, wrong.hint)
    identity = text.get("id", "")
    if not identity:
        identity = f"line {lines.line}"
        problem("column `id` is empty", names.index("id"))
    if identity in first_line:
        message = f"duplicate id `{identity[:60]}`, first used in line {first_line[identity]}"
        problem(message, names.index("id"))
    first_line.setdefault(identity, lines.line)
    fault = "; ".join(problem.message for problem in problems)
    return Run.of(identity, lines.line, text, number, fault, unknown)


@lru_cache(maxsize=512)
def _unknown_device(name: str) -> Problem | None:
    try:
        load_accelerator(name)
    except CostsimError as error:
        return error.problems[0]
    return None


def _format(names: list[str], file: str) -> Format:
    """Return which format the columns are of, all required ones being there."""
    location = Location(file, 1)
    counts = Counter(name for name in names if name)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        listed = ", ".join(f"`{name[:60]}`" for name in repeated[:20])
        raise SpecError(f"columns named twice: {listed}", location=location)
    present = set(names)
    scores = {
        name: (one.mark in present, len(present & set(one.required)) / len(one.required))
        for name, one in FORMATS.items()
    }
    found = FORMATS[max(scores, key=lambda name: scores[name])]
    if scores[found.name][1] < 0.5:
        raise SpecError(
            "the columns are those of no kind of runs",
            location=location,
            hint="docs/validation.md lists the columns of "
            + ", ".join(f"{name} runs" for name in FORMATS),
        )
    missing = [name for name in found.required if name not in present]
    if missing:
        stray = [name[:60] for name in present - found.columns.keys() if name]
        raise SpecError(
            [
                Problem(
                    f"missing column `{name}` of {found.name} runs",
                    location,
                    suggestion(name, stray)
                    if stray
                    else "a column whose values are unknown may be left empty, but must be there",
                )
                for name in missing
            ]
        )
    return found


def _odd_columns(names: Collection[str], format_: Format, lines: Lines) -> list[Problem]:
    free = format_.columns.keys() - set(names)
    return [
        Problem(
            f"column `{name[:60]}` is not known and not read",
            lines.place(place),
            suggestion(name[:60], free),
        )
        for place, name in enumerate(names)
        if name and name not in format_.columns
    ]
