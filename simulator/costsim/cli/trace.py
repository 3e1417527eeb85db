"""`costsim trace`: one step of a plan as a timeline that chrome://tracing and Perfetto show."""

from __future__ import annotations

from pathlib import Path

import click

from costsim.cli._output import write_result
from costsim.cli._scenarios import scenario_options


@click.command()
@scenario_options
@click.option(
    "--strategy",
    "label",
    default="best",
    show_default=True,
    metavar="NAME",
    help="A strategy that the plan lists: one of `compare`, or such as `option 1`.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(
    scenario: Path,
    settings: tuple[str, ...],
    calibration: Path | None,
    allow_outside: bool,
    label: str,
    output: Path | None,
) -> None:
    """Write one training step of the best plan for SCENARIO in the Chrome trace format.

    Each pipeline stage is a process with a lane for what it computes and one for each kind of
    exchange. The end of the last slice is the step time of the plan.
    """
    import json

    from costsim.planning import plan
    from costsim.planning.workloads.training.timelines import plan_timeline
    from costsim.training.timeline import trace_events

    found = plan_timeline(plan(scenario, settings, calibration, allow_outside=allow_outside), label)
    write_result(json.dumps(trace_events(found), separators=(",", ":"), allow_nan=False), output)
