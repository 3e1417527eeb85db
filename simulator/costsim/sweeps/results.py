"""Results of a study: rows read back from its journal, written as CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, cast

from costsim.cells import inert
from costsim.errors import CostsimError
from costsim.paths import unfinished
from costsim.sweeps.journal import Journal
from costsim.sweeps.study import Sweep

FORMATS = {"csv": (".csv",), "jsonl": (".jsonl", ".ndjson"), "parquet": (".parquet",)}
_GROUP = 50_000  # rows of Parquet that are held together


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What came of a study; rows are read when they are asked for.

    Attributes:
        name: of the study.
        columns: of every row: `point`, the varied keys, what is recorded, `status`, `error`.
        points: that were planned.
        total: points of the study.
        statuses: how many points had each status.
    """

    name: str
    columns: tuple[str, ...]
    points: int
    total: int
    statuses: dict[str, int]
    _sweep: Sweep = field(repr=False)
    _journal: Journal = field(repr=False)

    def __len__(self) -> int:
        return self.points

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.columns, row, strict=True)) for row in self._rows())

    def close(self) -> None:
        """Let go of the file that rows are read from."""
        self._journal.close()

    def rows(self) -> list[dict[str, Any]]:
        """Return every row, by column."""
        return list(self)

    def to_pandas(self) -> Any:
        """Return the rows as a pandas DataFrame, with `point` as its index."""
        try:
            import pandas
        except ImportError:
            raise CostsimError("`to_pandas` needs pandas", hint="pip install pandas") from None
        frame: Any = pandas.DataFrame(iter(self._rows()), columns=list(self.columns))
        return frame.set_index("point")

    def _rows(self) -> Iterator[list[Any]]:
        keys = self._sweep.points.keys
        for index, line in enumerate(islice(self._journal.lines(), self.points)):
            settings = self._sweep.points.at(index)
            yield [index, *(settings.get(key) for key in keys), *json.loads(line)]

    def chunks(self, format_name: str) -> Iterator[str]:
        """Yield the text of CSV or JSON lines, row by row."""
        if format_name == "csv":
            yield _csv([inert(name) for name in self.columns])
            for row in self._rows():
                yield _csv([_cell(value) for value in row])
        else:
            for row in self._rows():
                yield json.dumps(dict(zip(self.columns, row, strict=True)), ensure_ascii=False)
                yield "\n"

    def write(self, path: Path, format_name: str) -> None:
        """Write the rows to a file, which appears whole or not at all."""
        target = path.resolve()
        temporary = unfinished(target)
        try:
            if format_name == "parquet":
                self._write_parquet(temporary)
            else:
                with temporary.open("w", encoding="utf-8", newline="") as handle:
                    handle.writelines(self.chunks(format_name))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def _write_parquet(self, path: Path) -> None:
        pa, pq = need_pyarrow()
        kinds: list[set[type]] = [set() for _ in self.columns]
        for row in self._rows():
            for kind, value in zip(kinds, row, strict=True):
                if value is not None:
                    kind.add(type(cast("object", value)))
        types = [_arrow_type(pa, kind) for kind in kinds]
        schema = pa.schema(list(zip(self.columns, types, strict=True)))
        rows = self._rows()
        with pq.ParquetWriter(path, schema) as writer:
            while group := list(islice(rows, _GROUP)):
                columns = [
                    pa.array([_typed(pa, value, kind) for value in column], kind)
                    for column, kind in zip(zip(*group, strict=True), types, strict=True)
                ]
                writer.write_table(pa.table(columns, schema=schema))


def result_of(sweep: Sweep, journal: Journal, stop: int) -> SweepResult:
    """Return the result of the first `stop` points that a journal holds."""
    stop = min(stop, journal.done)
    place = len(sweep.record)
    lines = islice(journal.lines(), stop)
    statuses = Counter(str(json.loads(line)[place]) for line in lines)
    counts = dict(sorted(statuses.items()))
    total = sweep.points.count
    return SweepResult(sweep.name, sweep.columns, stop, total, counts, sweep, journal)


def need_pyarrow() -> tuple[Any, Any]:
    """Return pyarrow and its Parquet module.

    Raises:
        CostsimError: if it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise CostsimError("Parquet needs pyarrow", hint="pip install 'costsim[parquet]'") from None
    return pyarrow, pyarrow.parquet


def _csv(row: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(row)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    """Return a value as CSV holds it: nested ones, and `true`, as JSON, and no formula."""
    nested = isinstance(value, list | dict | bool)
    return json.dumps(value, ensure_ascii=False) if nested else inert(value)


def _arrow_type(pa: Any, kinds: set[type]) -> Any:
    """Return the type of a column: text, with nested values as JSON, where its values differ."""
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()


def _typed(pa: Any, value: Any, kind: Any) -> Any:
    if value is None or kind != pa.string():
        return value
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
