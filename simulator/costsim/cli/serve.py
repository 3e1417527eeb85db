"""`costsim serve`: a page to play with and a JSON API, on this machine."""

from __future__ import annotations

import click

from costsim.cli._console import current_settings, note

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8321, show_default=True, help="0 is any free."
)
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="Name by which it may be asked beside loopback and --host; repeatable.",
)
@click.option(
    "--time-limit",
    "limit_s",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    help="Seconds that one answer may take.",
)
def command(host: str, port: int, names: tuple[str, ...], limit_s: float) -> None:
    """Serve a page and a JSON API (extra `costsim[web]`).

    It listens on this machine alone unless --host says otherwise; there is no login, so put a
    proxy with one before it on a network. Scenarios sent to it may name no files. The API is
    described at /openapi.json.
    """
    try:
        import uvicorn

        from costsim.web.app import make_app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        from costsim.errors import CostsimError

        raise CostsimError(
            "`costsim serve` needs starlette and uvicorn", hint="pip install 'costsim[web]'"
        ) from None
    if host not in _LOOPBACK:
        note(f"warning: anyone who reaches {host}:{port} may use it; there is no login")
    current_settings().status = False  # it answers many
    app = make_app(hosts=(host, *names), time_limit_s=limit_s)
    shown = f"[{host}]" if ":" in host else host
    note(f"costsim at http://{shown}:{port}/ (end with Ctrl-C)")
    uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False)
