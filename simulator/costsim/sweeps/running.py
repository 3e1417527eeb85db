"""A study run from where its journal ends: points to an engine, rows to the journal and a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from costsim.errors import Problem, SpecError, suggestion
from costsim.planning.planner import plan
from costsim.planning.study import Source
from costsim.sweeps.engines import Rows, Span, in_process, in_processes, spans
from costsim.sweeps.evaluate import entries, entry
from costsim.sweeps.journal import Journal
from costsim.sweeps.results import FORMATS, SweepResult, need_pyarrow, result_of
from costsim.sweeps.study import Sweep, read_study

Engine = Literal["processes", "dask"]
MOST_POINTS = 1_000_000  # that are planned without being asked for by number
_PROBES = 4  # points that are planned to learn which entries a plan has


def sweep(
    study: Source,
    output: str | Path | None = None,
    *,
    settings: Sequence[str] = (),
    jobs: int = 1,
    engine: Engine = "processes",
    scheduler: str | None = None,
    limit: int | None = None,
    restart: bool = False,
    allow_outside: bool = False,
) -> SweepResult:
    """Plan a scenario at every point of a study.

    Args:
        study: path of a study's YAML, the name of one that costsim comes with, or a mapping.
        output: `.csv`, `.jsonl` or `.parquet`; a run that is cut short goes on from the journal
            beside it. Without it, rows are kept in a temporary file.
        settings: overrides of the scenario such as `hardware.devices=512`.
        jobs: processes; above 1 the calling script needs `if __name__ == "__main__":`.
        engine: `dask` plans on a cluster.
        scheduler: address of a Dask scheduler; without it, `jobs` processes of a local cluster.
        limit: points to plan, from the first.
        restart: discard what an earlier run left.
        allow_outside: whether the study may name files outside its own folder.

    Raises:
        SpecError: where the study must change; lists all its problems.
    """
    read_in = read_study(study, settings, allow_outside=allow_outside)
    path = None if output is None else Path(output)
    return run(read_in, path, None, jobs, engine, scheduler, limit, restart)


def run(
    study: Sweep,
    output: Path | None,
    format_name: str | None,
    jobs: int,
    engine: Engine,
    scheduler: str | None,
    limit: int | None,
    restart: bool,
    told: Callable[[int, int], None] = lambda done, stop: None,
) -> SweepResult:
    """Plan the points that a journal lacks; `told` hears how many are done, of how many.

    Raises:
        SpecError: if the study is too large, records what no plan has, or is not the journal's.
    """
    stop = last_point(study, limit)
    form = format_name or (None if output is None else _format(output))
    if form == "parquet":
        need_pyarrow()
    journal = _journal(study, output, restart)
    try:
        if journal.done == 0:
            check_record(study)
        told(min(journal.done, stop), stop)
        if journal.done < stop:
            runs = spans(journal.done, stop, jobs)
            for (start, count), rows in _engine(study.payload, runs, jobs, engine, scheduler):
                journal.append(start, count, rows)
                told(journal.done, stop)
        result = result_of(study, journal, stop)
        if output is not None and form is not None:
            result.write(output, form)
            if journal.done == study.points.count:
                journal.remove()
    except BaseException:
        journal.close()
        raise
    return result


def last_point(study: Sweep, limit: int | None) -> int:
    """Return how many points are to be planned.

    Raises:
        SpecError: if that is more than anyone means without saying so.
    """
    total = study.points.count
    if limit is None and total > MOST_POINTS:
        raise SpecError(
            f"the study has {total:,} points, more than {MOST_POINTS:,}",
            hint=f"`--limit N` plans the first N; `--limit {total}` plans all",
        )
    return total if limit is None else min(total, limit)


def check_record(study: Sweep) -> None:
    """Check that plans have what is to be recorded.

    Raises:
        SpecError: with each entry that none of the first plans has, and what is near.
    """
    if not study.stated:
        return
    missing, known = set(study.record), dict[str, None]()
    total = study.points.count
    for probe in range(min(_PROBES, total)):
        try:
            planned = plan(study.scenario_at(probe * (total - 1) // _PROBES), allow_outside=True)
        except Exception:
            continue  # that point's row will say so
        known |= dict.fromkeys(entries(planned.best.to_dict()))
        missing -= {n for n in missing if n in known or entry(planned, n) is not None}
        if not missing:
            return
    if known:
        raise SpecError(
            [
                Problem(f"`record`: a plan has no `{name}`", place, suggestion(name, known))
                for name, place in zip(study.record, study.record_places, strict=True)
                if name in missing
            ]
        )


def journal_path(output: Path) -> Path:
    """Return where the journal of an output stands."""
    return output.with_name(f"{output.name}.journal")


def _journal(study: Sweep, output: Path | None, restart: bool) -> Journal:
    if output is not None:
        return Journal(journal_path(output), study.digest, restart=restart)
    handle, name = tempfile.mkstemp(suffix=".costsim-journal")
    os.close(handle)
    journal = Journal(Path(name), study.digest)
    journal.remove()  # the open file is all that is needed
    return journal


def _engine(
    payload: str, runs: Iterator[Span], jobs: int, engine: Engine, scheduler: str | None
) -> Rows:
    if engine == "dask":
        from costsim.sweeps.cluster import on_dask

        return on_dask(payload, runs, jobs, scheduler)
    return in_process(payload, runs) if jobs == 1 else in_processes(payload, runs, jobs)


def _format(output: Path) -> str:
    for name, suffixes in FORMATS.items():
        if output.suffix.lower() in suffixes:
            return name
    raise SpecError(
        f"the suffix of `{output}` does not say which format",
        hint="end it with " + ", ".join(s for suffixes in FORMATS.values() for s in suffixes),
    )
