"""`costsim solve`: what a budget or a deadline buys, and the least of each that will do."""

from __future__ import annotations

import json
from pathlib import Path

import click

from costsim.cli._output import choose_format, write_result
from costsim.cli._scenarios import scenario_options

_FORMATS = ("table", "json")


@click.command()
@scenario_options
@click.option(
    "--for",
    "unknown",
    metavar="WHAT",
    help="tokens, devices, deadline, budget, parameters or load; default: the scenario's "
    "`solve_for`.",
)
@click.option("--law", metavar="NAME", help="Scaling law, of hardware_specs/scaling_laws.yaml.")
@click.option("--loss", type=float, help="Loss to reach, with `--for budget`; nats a token.")
@click.option("--unique-tokens", metavar="N", help="Tokens of the data; the rest are repetitions.")
@click.option("--served-tokens", metavar="N", help="Tokens that the model will generate.")
@click.option("--format", "asked", type=click.Choice(_FORMATS), help="Default: table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(
    scenario: Path,
    settings: tuple[str, ...],
    calibration: Path | None,
    allow_outside: bool,
    unknown: str | None,
    law: str | None,
    loss: float | None,
    unique_tokens: str | None,
    served_tokens: str | None,
    asked: str | None,
    output: Path | None,
) -> int:
    """Answer a backwards question about a SCENARIO and its limits.

    Exit code 3 where no plan keeps to the limits: says which one binds, and what comes nearest.
    """
    from costsim.decisions.solve import solve
    from costsim.units import parse_quantity

    form = choose_format(asked, output, _FORMATS)
    found = solve(
        scenario,
        unknown,
        settings,
        calibration,
        law=law,
        loss=loss,
        unique_tokens=parse_quantity(unique_tokens, "tokens") if unique_tokens else None,
        served_tokens=parse_quantity(served_tokens, "tokens") if served_tokens else 0.0,
        allow_outside=allow_outside,
    )
    content = json.dumps(found.to_dict(), indent=2, sort_keys=True)
    write_result(content if form == "json" else found.to_text(), output)
    return 0
