"""Runs files: a CSV with one measured configuration a row; an empty cell is unknown.

What is wrong with one row is noted at that row, which is then not predicted; only a file that
cannot be read at all, or lacks a column that every prediction needs, is refused.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

from costsim.errors import CostsimError, Location, Problem, SpecError, suggestion
from costsim.hardware.catalog import load_accelerator

Kind: TypeAlias = Literal["training", "inference", "vision"]

# Columns without which no row of a kind can be predicted; the first that is of its kind alone
# tells the kinds apart.
REQUIRED: dict[Kind, tuple[str, ...]] = {
    "inference": ("config", "id", "accelerator_id", "input_tokens", "output_tokens"),
    "vision": ("gmacs", "id", "accelerator_id", "model", "mode", "batch"),
    "training": (
        *("global_batch", "id", "family", "params_B", "layers", "hidden", "heads", "vocab"),
        *("seq_len", "accelerator_id", "n_devices", "precision"),
    ),
}
NUMBERS = frozenset(
    (
        *("params_B", "active_params_B", "layers", "hidden", "ffn", "heads", "kv_heads", "vocab"),
        *("experts", "top_k", "seq_len", "n_devices", "nodes", "global_batch", "micro_batch"),
        *("tp", "pp", "vp", "cp", "ep", "etp", "dp", "grad_accum", "network_gbps_per_device"),
        *("tokens_per_s_per_gpu", "samples_per_s_per_gpu", "tflops_per_gpu", "mfu", "hfu"),
        *("step_time_s", "memory_gb_per_gpu", "total_tokens", "gpu_hours", "wall_days"),
        *("energy_mwh", "tco2", "cost_usd", "group_size"),
        *("input_tokens", "output_tokens", "concurrency", "attention_dp", "moe_tp", "ttft_ms"),
        *("tpot_ms", "output_tokens_per_s", "batch", "img_size", "samples_per_s", "step_time_ms"),
        *("params_M", "gmacs", "macts"),
    )
)
WHOLE = frozenset(
    (
        *("layers", "hidden", "ffn", "heads", "kv_heads", "vocab", "experts", "top_k", "seq_len"),
        *("n_devices", "global_batch", "micro_batch", "tp", "pp", "vp", "cp", "ep", "etp", "dp", "batch"),
    )
)
TEXTS = frozenset(
    (
        *("id", "family", "model", "hardware", "accelerator_id", "interconnect", "precision"),
        *("framework", "zero_or_fsdp", "recompute", "task", "source_id", "source", "verified"),
        *("flop_check", "group", "notes", "config", "serving", "load", "gemm_quant", "moe_quant"),
        *("measured_on", "mode", "layout", "dynamo", "torch", "cuda", "source_file"),
        *("routing", "graphs", "attention_kernel", "overlap", "dispatcher", "effort"),
    )
)
_LARGEST = 1e15  # beyond any count or measurement of a run
_FIELD_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """One row: its texts and numbers by column, empty cells left out.

    `line` is where it starts in the file; `fault` says why it cannot be predicted, if it cannot.
    """

    id: str
    line: int
    text: Mapping[str, str]
    number: Mapping[str, float]
    fault: str = ""

    @property
    def group(self) -> str:
        """Rows of one group are scored as one; a row without a group is its own."""
        return self.text.get("group") or self.id


@dataclass(frozen=True, slots=True)
class RunsFile:
    """All rows of a file, what is wrong with it, and what looks odd but does no harm."""

    kind: Kind
    runs: tuple[Run, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def read_runs(path: str | Path) -> RunsFile:
    """Read a runs file.

    Raises:
        SpecError: if there is no such file, it is no CSV in UTF-8, of none of the known kinds,
            or lacks a column that every prediction needs.
    """
    file = str(path)
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as handle:
            return _read(handle, file)
    except FileNotFoundError:
        raise SpecError("no such file", location=Location(file)) from None
    except IsADirectoryError:
        raise SpecError("a folder, not a CSV file", location=Location(file)) from None
    except UnicodeDecodeError as error:
        message = f"not a CSV file in UTF-8 ({error.reason} at byte {error.start})"
        raise SpecError(message, location=Location(file)) from None
    except csv.Error as error:
        raise SpecError(f"not a CSV file: {error}", location=Location(file)) from None


def _read(lines: Iterable[str], file: str) -> RunsFile:
    csv.field_size_limit(_FIELD_BYTES)
    recorder = _Recorder(lines)
    reader = csv.reader(recorder)
    header = next(reader, None)
    if not header or not any(header):
        raise SpecError(
            "the file is empty", location=Location(file), hint="the first line names the columns"
        )
    columns = [name.strip() for name in header]
    kind = _kind(columns, file)
    warnings = _odd_columns(columns, recorder, file)
    problems: list[Problem] = []
    runs: list[Run] = []
    first_line: dict[str, int] = {}
    recorder.forget()
    for cells in reader:
        line = reader.line_num - recorder.count + 1
        if any(cells):
            found: list[Problem] = []
            run = _run(columns, cells, line, recorder, file, found)
            if run.id in first_line:
                where = _place(recorder, columns.index("id"), line, file)
                message = f"duplicate id `{run.id}`, first used in line {first_line[run.id]}"
                found.append(Problem(message, where))
            first_line.setdefault(run.id, line)
            fault = "; ".join(problem.message for problem in found)
            runs.append(Run(run.id, line, run.text, run.number, fault))
            problems.extend(found)
        recorder.forget()
    return RunsFile(kind, tuple(runs), tuple(problems), tuple(warnings))


def _run(
    columns: list[str],
    cells: list[str],
    line: int,
    recorder: _Recorder,
    file: str,
    problems: list[Problem],
) -> Run:
    """Return the row, and add what is wrong with it to `problems`."""
    text: dict[str, str] = {}
    number: dict[str, float] = {}

    def problem(message: str, place: int, hint: str | None = None) -> None:
        problems.append(Problem(message, _place(recorder, place, line, file), hint))

    if len(cells) != len(columns):
        problem(f"{len(cells)} cells in a file of {len(columns)} columns", 0)
    for place, (column, cell) in enumerate(zip(columns, cells, strict=False)):
        cell = cell.strip()
        if not cell:
            continue
        if column not in NUMBERS:
            text[column] = cell
            continue
        try:
            value = float(cell)
        except ValueError:
            problem(f"column `{column}`: `{cell[:40]}` is not a number", place)
            continue
        if not math.isfinite(value) or abs(value) > _LARGEST:
            problem(f"column `{column}`: `{cell[:40]}` is not a finite number in range", place)
        elif column in WHOLE and (value < 1 or value != int(value)):
            problem(f"column `{column}`: {cell[:40]} is not a whole number above 0", place)
        elif value < 0:
            problem(f"column `{column}`: {cell[:40]} is negative", place)
        else:
            number[column] = value
    device = text.get("accelerator_id", "")
    if device and (unknown := _unknown_device(device)):
        problem(
            f"column `accelerator_id`: {unknown.message}",
            columns.index("accelerator_id"),
            unknown.hint,
        )
    identity = text.get("id", "")
    if not identity:
        identity = f"line {line}"
        problem("column `id` is empty", columns.index("id"))
    return Run(identity, line, text, number)


@lru_cache(maxsize=512)
def _unknown_device(name: str) -> Problem | None:
    try:
        load_accelerator(name)
    except CostsimError as error:
        return error.problems[0]
    return None


def _kind(columns: list[str], file: str) -> Kind:
    """Return which kind of runs the columns describe, all required ones being there."""
    location = Location(file, 1)
    repeated = sorted({name for name in columns if name and columns.count(name) > 1})
    if repeated:
        listed = ", ".join(f"`{name}`" for name in repeated)
        raise SpecError(f"columns named twice: {listed}", location=location)
    present = set(columns)
    scores = {kind: len(present & set(needed)) / len(needed) for kind, needed in REQUIRED.items()}
    marked: list[Kind] = [kind for kind, needed in REQUIRED.items() if needed[0] in present]
    kind: Kind = max(marked or REQUIRED, key=lambda name: scores[name])
    if scores[kind] < 0.5:
        raise SpecError(
            "the columns are those of no kind of runs",
            location=location,
            hint="docs/validation.md lists the columns of "
            + ", ".join(f"{kind} runs" for kind in REQUIRED),
        )
    missing = [name for name in REQUIRED[kind] if name not in present]
    if missing:
        raise SpecError(
            [
                Problem(
                    f"missing column `{name}` of {kind} runs",
                    location,
                    suggestion(name, present - NUMBERS - TEXTS)
                    if present - NUMBERS - TEXTS
                    else "a column whose values are unknown may be left empty, but must be there",
                )
                for name in missing
            ]
        )
    return kind


def _odd_columns(columns: list[str], recorder: _Recorder, file: str) -> list[Problem]:
    known = NUMBERS | TEXTS
    return [
        Problem(
            f"column `{name}` is not known and not read",
            _place(recorder, place, 1, file),
            suggestion(name, known - set(columns)),
        )
        for place, name in enumerate(columns)
        if name and name not in known
    ]


class _Recorder:
    """Passes lines on and keeps those of the row at hand, so that a cell's place can be found."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines: Iterator[str] = iter(lines)
        self._kept: list[str] = []

    def __iter__(self) -> _Recorder:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if "\0" in line:
            raise csv.Error("line contains NUL")
        self._kept.append(line)
        return line

    @property
    def count(self) -> int:
        return len(self._kept)

    def forget(self) -> None:
        self._kept = []

    def start_of(self, place: int) -> tuple[int, int]:
        """Return where cell `place` of the row starts: lines below its first, and the column."""
        row, column, quoted, cell = 0, 1, False, 0
        for row, line in enumerate(self._kept):
            for index, character in enumerate(line):
                if cell == place and (index == 0 or (line[index - 1] == "," and not quoted)):
                    return row, index + 1
                if character == '"':
                    quoted = not quoted
                elif character == "," and not quoted:
                    cell += 1
                    column = index + 2
        return row, column


def _place(recorder: _Recorder, place: int, line: int, file: str) -> Location:
    below, column = recorder.start_of(place)
    return Location(file, line + below, column)
