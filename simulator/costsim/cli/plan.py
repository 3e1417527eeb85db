"""`costsim plan`: the best way to run a scenario of any kind, and what it costs."""

from __future__ import annotations

from pathlib import Path

import click

from costsim.cli._output import choose_format, report_formats, write_result
from costsim.cli._reports import write_report
from costsim.cli._scenarios import scenario_options


@click.command()
@scenario_options
@click.option("--format", "format_name", metavar="NAME", help="Default: table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(
    scenario: Path,
    settings: tuple[str, ...],
    calibration: Path | None,
    allow_outside: bool,
    format_name: str | None,
    output: Path | None,
) -> int:
    """Find the best way to run SCENARIO, a YAML file or the name of a packaged one, and its cost.

    Exit code 3 where nothing fits, 4 where the best is over a limit that the scenario states.
    """
    from costsim.planning import plan
    from costsim.reporting.plans import plan_report

    chosen = choose_format(format_name, output, report_formats())
    found = plan(scenario, settings, calibration, allow_outside=allow_outside)
    if chosen == "json":
        write_result(found.to_json(), output)
    else:
        write_report(plan_report(found), chosen, output)
    found.check_limits()
    return 0
