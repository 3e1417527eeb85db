"""`costsim plan`: the best way to run a scenario, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from costsim.cli._output import choose_format, write_result
from costsim.cli._reports import write_report
from costsim.cli._scenarios import with_calibration

if TYPE_CHECKING:
    from costsim.planning.plans import Plan

FORMATS = ("table", "json", "markdown", "html", "csv")


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a value of the scenario, such as hardware.devices=512; repeatable.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="Overlay file of `costsim calibrate` to apply.",
)
@click.option("--format", "format_name", type=click.Choice(FORMATS), help="Default: table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(
    scenario: Path,
    settings: tuple[str, ...],
    calibration: Path | None,
    format_name: str | None,
    output: Path | None,
) -> int:
    """Find the best way to run SCENARIO, a YAML file, and what it costs.

    Exit code 3 where no strategy fits, 4 where the best is over a limit that the scenario states.
    """
    from costsim.planning import plan
    from costsim.planning.reading import compares_compression, serves
    from costsim.reporting.plan_report import plan_report

    chosen = choose_format(format_name, output, FORMATS)
    if serves(scenario):
        return _serve(scenario, settings, chosen, output)
    if compares_compression(scenario):
        return _compare(scenario, settings, chosen, output)

    found = plan(scenario, with_calibration(settings, calibration))
    if chosen == "json":
        write_result(found.to_json(), output)
    else:
        write_report(plan_report(found), chosen, output)
    return _within_limits(found)


def _serve(scenario: Path, settings: tuple[str, ...], chosen: str, output: Path | None) -> int:
    """Print the plan of a service."""
    from costsim.planning import plan_serving
    from costsim.reporting.serving_report import serving_report

    found = plan_serving(scenario, settings)
    if chosen == "json":
        write_result(found.to_json(), output)
    else:
        write_report(serving_report(found), chosen, output)
    return 0


def _compare(scenario: Path, settings: tuple[str, ...], chosen: str, output: Path | None) -> int:
    """Print the comparison of a scenario that lists options of compression."""
    from costsim.errors import OverBudgetError
    from costsim.planning import plan_compressed
    from costsim.reporting.compression_report import compression_report
    from costsim.units import format_usd

    found = plan_compressed(scenario, settings)
    if chosen == "json":
        write_result(found.to_json(), output)
    else:
        write_report(compression_report(found), chosen, output)
    cost = found.best.total_usd
    if found.limit_usd is not None and cost > found.limit_usd:
        raise OverBudgetError(
            f"the best option costs {format_usd(cost)}, over {format_usd(found.limit_usd)}"
        )
    return 0


def _within_limits(found: Plan) -> int:
    """Raise where the best plan is over a stated limit, after it has been printed."""
    from costsim.errors import OverBudgetError, Problem
    from costsim.units import format_duration, format_usd

    limits = found.scenario.get("limits", {})
    day_s = 86_400
    problems: list[Problem] = []
    cost, wall_s = found.best.value("cost_usd"), found.best.value("days") * day_s
    if "cost" in limits and cost > limits["cost"]:
        problems.append(
            Problem(f"the best plan costs {format_usd(cost)}, over {format_usd(limits['cost'])}")
        )
    if "deadline" in limits and wall_s > limits["deadline"]:
        problems.append(
            Problem(
                f"the best plan takes {format_duration(wall_s)}, over the deadline of "
                f"{format_duration(limits['deadline'])}"
            )
        )
    if problems:
        raise OverBudgetError(problems)
    return 0
