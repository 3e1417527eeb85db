"""`costsim calibrate`: a cluster's few measured steps refine the constants that plans use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from costsim.cli._output import write_result

if TYPE_CHECKING:
    from costsim.validation.calibrating import Calibration


@click.command()
@click.argument("runs", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(runs: Path, output: Path | None) -> None:
    """Refine constants by RUNS, a CSV of measured training runs, into an overlay file.

    Each constant moves from the packaged one as far as the rows tell. `--calibration FILE` of
    `plan`, `trace` and `validate`, or `calibration: FILE` in a scenario, applies it.
    """
    import yaml

    from costsim.cli._console import note
    from costsim.validation.calibrating import calibrate

    found = calibrate(runs)
    head = "# Refined by `costsim calibrate`; a constant that is not here is the packaged one.\n"
    write_result(head + yaml.safe_dump(found.to_dict(), sort_keys=False), output)
    for line in _summary(found):
        note(line)


def _summary(found: Calibration) -> list[str]:
    """Say how errors and constants changed."""
    errors = f"median error {found.before:.1%} before, {found.after:.1%} after"
    if found.left_out is not None:
        errors += f", {found.left_out:.1%} of rows left out"
    lines = [f"{found.rows} rows in {found.groups} groups: {errors}"]
    for constant in found.constants:
        if abs(constant.refined / constant.packaged - 1) >= 0.005:
            lines.append(
                f"  {constant.owner}.{constant.field}: {constant.packaged:.4g} -> "
                f"{constant.refined:.4g}"
            )
    return lines
