"""`costsim mcp`: the tools of costsim for assistants, over standard input and output."""

from __future__ import annotations

import click

from costsim.cli._console import current_settings


@click.command()
def command() -> None:
    """Serve plan, validate, explain, estimate, models, hardware and prices as tools (MCP).

    It speaks the Model Context Protocol over standard input and output, as a client starts it:
    `{"command": "costsim", "args": ["mcp"]}`. It reads no file that a client names. Extra
    `costsim[mcp]`.
    """
    try:
        from costsim.mcp.server import make_server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mcp":
            raise
        from costsim.errors import CostsimError

        raise CostsimError(
            "`costsim mcp` needs the SDK of the protocol", hint="pip install 'costsim[mcp]'"
        ) from None
    current_settings().status = False  # it answers many
    make_server().run("stdio")
