"""`costsim validate`: predictions scored against measured runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from costsim.cli._output import choose_format, write_result
from costsim.cli._reports import write_report

if TYPE_CHECKING:
    from costsim.validation.score import Validation

FORMATS = ("table", "json", "csv", "markdown", "html")


@click.command()
@click.argument("runs", type=click.Path(path_type=Path), required=False)
@click.option("--format", "format_name", type=click.Choice(FORMATS), help="Default: table.")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="Overlay file of `costsim calibrate` to apply.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(
    runs: Path | None, format_name: str | None, calibration: Path | None, output: Path | None
) -> int:
    """Predict every row of RUNS, a CSV of measured runs or a result of `vllm bench serve`.

    Without RUNS, published runs that come with costsim are scored. Each row is predicted from its
    configuration alone; measured columns only score, and may be empty.

    Rows with mistakes are not predicted, are listed on stderr and make the exit code 1; all others
    are predicted all the same.
    """
    from costsim.cli._console import current_settings, note, print_problems
    from costsim.planning.overlays import read_overlay
    from costsim.validation.packaged import packaged_runs
    from costsim.validation.score import validate

    chosen = choose_format(format_name, output, FORMATS)
    overlay = None if calibration is None else read_overlay(calibration)
    found = validate(packaged_runs() if runs is None else runs, overlay)
    _write(found, chosen, output)
    for warning in found.warnings:
        note(f"note: {warning}")
    print_problems(found.problems, current_settings())
    return 1 if found.problems else 0


def _write(found: Validation, chosen: str, output: Path | None) -> None:

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
    from costsim.reporting.validation_report import validation_report

    report = validation_report(found, charts=chosen != "table")
    write_report(report, chosen, output, width=100, widest=120)
