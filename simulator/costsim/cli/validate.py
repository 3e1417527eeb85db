"""`costsim validate`: predictions scored against measured runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from costsim.cli._output import choose_format, write_result

if TYPE_CHECKING:
    from costsim.validation.score import Validation

FORMATS = ("table", "json", "csv", "markdown", "html")


@click.command()
@click.argument("runs", type=click.Path(path_type=Path), required=False)
@click.option("--format", "format_name", type=click.Choice(FORMATS), help="Default: table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(runs: Path | None, format_name: str | None, output: Path | None) -> int:
    """Predict every row of RUNS, a CSV of measured runs, and score the predictions.

    Without RUNS, published runs that come with costsim are scored. Each row is predicted from its
    configuration alone; measured columns only score, and may be empty.

    Rows with mistakes are not predicted, are listed on stderr and make the exit code 1; all others
    are predicted all the same.
    """
    from costsim.cli._console import current_settings, note, print_problems
    from costsim.validation.packaged import packaged_runs
    from costsim.validation.score import validate

    chosen = choose_format(format_name, output, FORMATS)
    found = validate(packaged_runs() if runs is None else runs)
    _write(found, chosen, output)
    for warning in found.warnings:
        note(f"note: {warning}")
    print_problems(found.problems, current_settings())
    return 1 if found.problems else 0


def _write(found: Validation, chosen: str, output: Path | None) -> None:
    import shutil
    import sys

    from costsim.cli._console import current_settings
    from costsim.cli._tables import to_csv

    if chosen == "json":
        import json

        write_result(json.dumps(found.to_dict(), indent=2, ensure_ascii=False), output)
        return
    if chosen == "csv":
        from costsim.validation.score import entry_dict

        rows = [entry_dict(entry) for entry in found.entries]
        columns = ("id", "quantity", "unit", "predicted", "low", "high", "measured")
        columns = (*columns, "status", "reason")
        write_result(to_csv(columns, [[row[c] for c in columns] for row in rows]), output)
        return
    from costsim.reporting import RenderOptions, render, render_files
    from costsim.reporting.validation_report import validation_report

    report = validation_report(found, charts=chosen != "table")
    to_terminal = output is None and sys.stdout.isatty()
    options = RenderOptions(
        width=min(shutil.get_terminal_size().columns, 120) if to_terminal else 100,
        color=output is None and current_settings().colored(sys.stdout),
        encoding=sys.stdout.encoding or "utf-8",
    )
    if output is None or output == Path("-"):
        write_result(render(report, chosen, options), output)
        return
    files = render_files(report, chosen, output, options)
    text = files.pop(output.name)
    write_result(text, output, files)
