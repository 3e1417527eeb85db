"""What commands that read a scenario have in common: the argument, and how it may be changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from costsim.cli import _complete

SETTINGS = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a value of the scenario, such as hardware.devices=512; repeatable.",
)
CALIBRATION = click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="Overlay file of `costsim calibrate` to apply.",
)


OUTSIDE = click.option(
    "--allow-outside",
    is_flag=True,
    help="Let the scenario name files outside its own folder.",
)


def scenario_options(command: Callable[..., Any], *, required: bool = True) -> Callable[..., Any]:
    """Add the argument SCENARIO and the options that change it."""
    argument = click.argument(
        "scenario",
        type=click.Path(path_type=Path),
        required=required,
        shell_complete=_complete.scenarios,
    )
    return argument(SETTINGS(CALIBRATION(OUTSIDE(command))))
