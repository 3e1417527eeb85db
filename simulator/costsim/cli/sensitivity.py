"""`costsim sensitivity`: what moves a plan's cost and time, and what would flip its choice."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from costsim.cli._output import choose_format, write_result
from costsim.cli._scenarios import scenario_options

_FORMATS = ("table", "json")


@click.command()
@scenario_options
@click.option("--by", type=click.FloatRange(0, 1, True, True), default=0.2, help="Default: 0.2.")
@click.option("--flips", is_flag=True, help="Find the nearest change that makes another way win.")
@click.option("--input", "names", multiple=True, metavar="NAME", help="Of flips; repeatable.")
@click.option("--format", "asked", type=click.Choice(_FORMATS), help="Default: table.")
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
    from costsim.cli._tables import aligned
    from costsim.decisions.sensitivity import Sensitivity
    from costsim.units import format_duration, format_usd

    form = choose_format(asked, output, _FORMATS)
    found = Sensitivity(scenario, settings, calibration, allow_outside=allow_outside)
    if flips:
        flipped = found.flips(names)
        content = {"flips": [asdict(one) for one in flipped]}
        rows = [
            (
                one.name,
                "no change to 4 x" if one.factor is None else f"x {one.factor:.3f}",
                "" if one.factor is None else one.to or "nothing fits",
            )
            for one in flipped
        ]
        text = aligned(("input", "flips at", "to"), rows, {1})
    else:
        moved = found.moved(by)
        content = {"by": by, "inputs": [asdict(one) for one in moved]}

        def said(end: tuple[float, float] | None, other: bool) -> tuple[str, str]:
            if end is None:
                return "nothing fits", ""
            return format_usd(end[0]) + (" *" if other else ""), format_duration(end[1] * 86_400)

        rows = [
            (
                one.name,
                *said(one.low, one.other[0]),
                *said(one.high, one.other[1]),
                *(
                    "" if value is None else f"{value:+.2f}"
                    for value in (one.cost_elasticity, one.time_elasticity)
                ),
            )
            for one in moved
        ]
        lower, higher = f"at -{by:.0%}", f"at +{by:.0%}"
        head = ("input", lower, "time", higher, "time", "cost elasticity", "time elasticity")
        text = aligned(head, rows, set(range(1, 7))) + "\n* another way wins"
    layout = {"schema_version": 1, "way": _way(found), **content}
    write_result(json.dumps(layout, indent=2, sort_keys=True) if form == "json" else text, output)
    return 0


def _way(found: object) -> str:
    from costsim.decisions.sensitivity import Sensitivity, way

    assert isinstance(found, Sensitivity)
    return way(found.base)
