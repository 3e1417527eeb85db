"""`costsim compare`: one scenario on several systems, models and providers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from costsim.cli._output import choose_format, write_result
from costsim.cli._scenarios import SETTINGS

if TYPE_CHECKING:
    from costsim.decisions.compare import Compared

_FORMATS = ("table", "json")


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--hardware", default="", metavar="A,B", help="Systems to plan it on.")
@click.option("--model", default="", metavar="A,B", help="Models to plan it for.")
@click.option("--provider", default="", metavar="A,B", help="Providers to rent from.")
@SETTINGS
@click.option("--format", "asked", type=click.Choice(_FORMATS), help="Default: table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(
    scenario: Path,
    hardware: str,
    model: str,
    provider: str,
    settings: tuple[str, ...],
    asked: str | None,
    output: Path | None,
) -> int:
    """Plan SCENARIO once for each combination, and say why each but the first loses.

    Exit code 3 where nothing fits, 4 where even the first is over a limit of the scenario.
    """
    from costsim.decisions import compare

    form = choose_format(asked, output, _FORMATS)
    lists = ([n.strip() for n in t.split(",") if n.strip()] for t in (hardware, model, provider))
    found = compare(scenario, *lists, settings=settings)
    if form == "json":
        variants = [one.to_dict() for one in found]
        text = json.dumps({"schema_version": 1, "variants": variants}, indent=2, sort_keys=True)
        write_result(text, output)
    else:
        write_result(_table(found), output)
    if found[0].plan is None:
        return 3
    return 4 if found[0].over else 0


def _table(found: tuple[Compared, ...]) -> str:
    """Return one line a variant, the best first."""
    from costsim.cli._tables import aligned

    rows: list[tuple[str, ...]] = []
    for one in found:
        if one.plan is None:
            rows.append((one.name, "none", "none", "none", one.reason))
            continue
        best = one.plan.best
        cost, days = (str(best.figures[name]) for name in ("cost_usd", "days"))
        rows.append((one.name, cost, days, f"{best.devices:,}", one.reason))
    return aligned(("variant", "cost", "time", "devices", "why not"), rows, {1, 2, 3})
