"""`costsim sweep`: one scenario planned at many points, resumable, on all cores or a cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from costsim.cli._console import UsageError, current_settings, note
from costsim.cli._output import choose_format
from costsim.cli._scenarios import CALIBRATION, SETTINGS

_STDOUT = Path("-")


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@SETTINGS
@CALIBRATION
@click.option("--allow-outside", is_flag=True, help="Let the study name files outside its folder.")
@click.option("--format", "format_name", metavar="NAME", help="csv (default), jsonl or parquet.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; default: one a core.")
@click.option("--engine", type=click.Choice(["processes", "dask"]), default="processes")
@click.option("--scheduler", metavar="ADDRESS", help="Of Dask, such as tcp://host:8786.")
@click.option("--limit", type=click.IntRange(min=1), help="Plan this many points, from the first.")
@click.option("--restart", is_flag=True, help="Discard what an earlier run of OUTPUT left.")
def command(
    study: Path,
    settings: tuple[str, ...],
    calibration: Path | None,
    allow_outside: bool,
    format_name: str | None,
    output: Path | None,
    jobs: int | None,
    engine: Any,
    scheduler: str | None,
    limit: int | None,
    restart: bool,
) -> None:
    """Plan the scenario of STUDY, a YAML file or the name of a packaged one, at all its points.

    A run that was cut short goes on where it ended: give the same command again. Points that cannot
    be planned are rows with a status and an error.
    """
    from costsim.sweeps import read_study
    from costsim.sweeps.engines import cores
    from costsim.sweeps.results import FORMATS
    from costsim.sweeps.running import last_point, run

    if scheduler and engine != "dask":
        raise UsageError("`--scheduler` is of Dask", "add `--engine dask`")
    output = None if output == _STDOUT else output
    chosen = choose_format(format_name, output, FORMATS)
    if chosen == "parquet" and output is None:
        raise UsageError("Parquet needs a file", "name one with `-o results.parquet`")
    current_settings().status = False  # it has a bar
    told = read_study(study, settings, calibration, allow_outside=allow_outside)
    total, stop = told.points.count, last_point(told, limit)
    jobs = min(jobs or cores(), stop)
    size = f"{total:,} point{'' if total == 1 else 's'}"
    note(f"{stop:,} of {size}" if stop < total else size)
    try:
        with _progress(stop) as progress:
            found = run(told, output, chosen, jobs, engine, scheduler, limit, restart, progress)
    except KeyboardInterrupt:
        kept = "; the same command goes on where it ended" if output else ""
        note(f"interrupted{kept}")
        raise click.Abort from None
    except OSError as error:
        raise UsageError(f"cannot write `{output or 'the results'}`: {error.strerror}") from None
    if output is None:
        for text in found.chunks(chosen):
            click.echo(text, nl=False)
        sys.stdout.flush()
    found.close()
    note(", ".join(f"{count:,} {status}" for status, count in found.statuses.items()))


@contextmanager
def _progress(total: int) -> Generator[Callable[[int, int], None]]:
    """Show a bar with rate and time left on a terminal; elsewhere nothing."""
    if current_settings().quiet or not sys.stderr.isatty():
        yield lambda done, stop: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Points a second of this run."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.1f}/s" if task.speed else "…/s")

    columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("points", total=total)
        began = False

        def told(done: int, _: int) -> None:
            nonlocal began
            if not began:  # what an earlier run did is no speed of this one
                progress.reset(task, total=total, completed=done)
                began = True
            progress.update(task, completed=done)

        yield told
