"""`costsim init`: a commented scenario to start from."""

from __future__ import annotations

from pathlib import Path

import click

from costsim.cli._console import UsageError, note
from costsim.cli._output import write_result
from costsim.resources import data_folder


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default="scenario.yaml")
def command(path: Path) -> None:
    """Write a commented starter scenario to PATH (default: scenario.yaml)."""
    if path.exists():
        raise UsageError(f"`{path}` exists already", "name another file, or remove it")
    write_result((data_folder("scenarios") / "starter.yaml").read_text(encoding="utf-8"), path)
    if path != Path("-"):
        note(f"wrote {path}; `costsim plan {path}` plans it")
