"""`costsim compare`: one scenario on several systems, models and providers."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--hardware", default="", metavar="A,B", help="Systems to plan it on.")
@click.option("--model", default="", metavar="A,B", help="Models to plan it for.")
@click.option("--provider", default="", metavar="A,B", help="Providers to rent from.")
def command(scenario: Path, hardware: str, model: str, provider: str) -> int:
    """Plan SCENARIO once for each combination, and say why each but the first loses."""
    from costsim.cli._output import write_result
    from costsim.cli._tables import aligned
    from costsim.decisions import compare

    found = compare(
        scenario, *([n for n in t.split(",") if n] for t in (hardware, model, provider))
    )
    rows: list[tuple[str, ...]] = []
    for one in found:
        best = one.plan.best if one.plan else None
        figures = best.figures if best else {}
        cells = (str(figures.get(name, "none")) for name in ("cost_usd", "days"))
        rows.append((one.name, *cells, f"{best.devices:,}" if best else "none", one.reason))
    header = ("variant", "cost", "time", "devices", "why not")
    write_result(aligned(header, rows, {1, 2, 3}), None)
    if found[0].plan is None:
        return 3
    return 4 if found[0].over else 0
