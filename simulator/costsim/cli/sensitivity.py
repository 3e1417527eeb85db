"""`costsim sensitivity`: what moves a plan's cost and time, and what would flip its choice."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from costsim.cli._output import choose_format, report_formats, write_result
from costsim.cli._reports import write_report
from costsim.cli._scenarios import scenario_options


@click.command()
@scenario_options
@click.option("--by", type=click.FloatRange(0, 1, True, True), default=0.2, help="Default: 0.2.")
@click.option("--flips", is_flag=True, help="Find the nearest change that makes another way win.")
@click.option("--input", "names", multiple=True, metavar="NAME", help="Of flips; repeatable.")
@click.option("--format", "asked", metavar="NAME", help="Default: table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(
    scenario: Path,
    settings: tuple[str, ...],
    calibration: Path | None,
    allow_outside: bool,
    by: float,
    flips: bool,
    names: tuple[str, ...],
    asked: str | None,
    output: Path | None,
) -> int:
    """Plan SCENARIO again with each input lower and higher: what it costs and takes then."""
    from costsim.decisions.sensitivity import Sensitivity, way
    from costsim.reporting.sensitivity_report import sensitivity_report

    form = choose_format(asked, output, report_formats())
    found = Sensitivity(scenario, settings, calibration, allow_outside=allow_outside)
    moved = found.moved(by)
    flipped = found.flips(names) if flips else ()
    if form == "json":
        content = {
            "schema_version": 2,
            "way": way(found.base),
            "by": by,
            "inputs": [asdict(one) for one in moved],
            "flips": [asdict(one) for one in flipped],
        }
        write_result(json.dumps(content, indent=2, sort_keys=True), output)
    else:
        write_report(sensitivity_report(found, moved, by, flipped), form, output)
    return 0
