"""`costsim diff`: what changes in dollars, time and hardware between two plans."""

from __future__ import annotations

from pathlib import Path

import click

from costsim.cli._output import choose_format, write_result
from costsim.cli._scenarios import SETTINGS


@click.command()
@click.argument("before")
@click.argument("after")
@SETTINGS
@click.option("--format", "format_name", metavar="NAME", help="table (default), markdown or json.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
@click.option("--exit-code", is_flag=True, help="End with code 1 where they differ.")
def command(
    before: str,
    after: str,
    settings: tuple[str, ...],
    format_name: str | None,
    output: Path | None,
    exit_code: bool,
) -> int:
    """Show what differs between plans BEFORE and AFTER.

    Each is a scenario's YAML, the JSON that `costsim plan` wrote, or a packaged scenario's name.
    """
    from costsim.decisions import diff

    chosen = choose_format(format_name, output, ("table", "markdown", "json"))
    found = diff(before, after, settings)
    text = {"table": found.to_text, "markdown": found.to_markdown, "json": found.to_json}[chosen]()
    write_result(text, output)
    return 1 if exit_code and found else 0
