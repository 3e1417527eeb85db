"""The command line: `costsim COMMAND`, each command in a module of its own, imported on use."""

from __future__ import annotations

import errno
import io
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from costsim.cli._console import (
    Settings,
    UsageError,
    follow,
    print_problems,
    print_unexpected,
    print_usage,
)
from costsim.errors import CostsimError, suggestion

# name -> what it does; the module `costsim.cli.<name>` holds the click command `command`.
COMMANDS = {
    "plan": "Find the best way to run a scenario, and what it costs.",
    "fit": "Tell whether training fits on a device, and what would make it fit.",
    "compare": "Plan a scenario on several systems, models and providers.",
    "sweep": "Plan a scenario at many points, on all cores or a cluster.",
    "diff": "Show what changes between two plans, in dollars and otherwise.",
    "solve": "Find the tokens, devices, time, money or model size that limits allow.",
    "sensitivity": "Show what moves the cost of a plan, and what would flip its choice.",
    "estimate": "Estimate one model on one system.",
    "compress": "Show what compression recipes make of a model.",
    "trace": "Write one step of a plan as a timeline for Perfetto.",
    "explain": "Show the formula, the numbers and the sources behind a quantity.",
    "models": "List the model catalog, or describe one model.",
    "hardware": "List the hardware catalog, or describe one device or system.",
    "prices": "List prices by provider and date.",
    "validate": "Score predictions against measured runs.",
    "calibrate": "Refine the constants of steps by a cluster's measured runs.",
    "schema": "Print the JSON schema of a file that you write.",
    "init": "Write a commented starter scenario.",
    "serve": "Serve a page and a JSON API on this machine.",
    "mcp": "Serve costsim as tools for assistants (Model Context Protocol).",
}

_EPILOG = """\b
Exit codes:
  0  done
  1  the input must change
  2  usage, or an unexpected error
  3  no feasible plan
  4  over a stated budget or deadline

Results go to stdout, everything else to stderr."""

_UNEXPECTED = 2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # of a disk that stdout goes to
_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def _settings_options() -> list[click.Parameter]:
    """Return the options that every command takes; each writes into the run's `Settings`."""

    def record(context: click.Context, option: click.Parameter, value: Any) -> None:
        settings = context.find_object(Settings)
        if settings and value not in (None, False):
            setattr(settings, str(option.name), value)
            if option.name == "verbose" and settings.stop is None:
                follow(settings)

    def option(*names: str, **attributes: Any) -> click.Option:
        return click.Option(names, **attributes, expose_value=False, is_eager=True, callback=record)

    return [
        option("--color", type=click.Choice(["auto", "always", "never"]), help="Colour the text."),
        option("-q", "--quiet", is_flag=True, help="Print results and errors only."),
        option("-v", "--verbose", is_flag=True, help="Say more about what is done."),
        option("--debug", is_flag=True, help="Show the traceback of an unexpected error."),
    ]


class _LazyGroup(click.Group):
    """A group that knows its commands by name and imports the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        here = Path(__file__).parent
        return [name for name in COMMANDS if (here / f"{name}.py").exists()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in self.list_commands(ctx):
            self.add_command(import_module(f"costsim.cli.{cmd_name}").command, cmd_name)
        return self.commands.get(cmd_name)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        cmd.context_settings.setdefault("help_option_names", ["-h", "--help"])
        cmd.params.extend(_settings_options())  # `costsim plan x -q` is `costsim -q plan x`
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        settings = ctx.find_object(Settings)
        if settings and settings.stop is None and sys.stderr.isatty():
            follow(settings)
        return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            hint = suggestion(args[0], self.list_commands(ctx))
            raise UsageError(f"unknown command `{args[0]}`", hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


def _print_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        import costsim

        click.echo(f"costsim {costsim.__version__}")
        context.exit()


app = _LazyGroup(
    name="costsim",
    help="Plan what a foundation model costs to train and serve: time, memory, money, energy.",
    epilog=_EPILOG,
    params=[
        *_settings_options(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Print the version.",
        ),
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `costsim` with `arguments` (default: the process's own) and return the exit code."""
    if arguments is None and hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `costsim … | head` ends as quietly as `cat`
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character the terminal lacks is no failure
    settings = Settings()
    if arguments is not None and any("\0" in argument for argument in arguments):
        print_usage(UsageError("an argument holds a NUL character"), settings)
        return _UNEXPECTED
    try:
        result = app.main(arguments, prog_name="costsim", standalone_mode=False, obj=settings)
        return result if isinstance(result, int) else 0
    except CostsimError as error:
        print_problems(error.problems, settings)
        return error.exit_code
    except click.UsageError as error:
        print_usage(error, settings)
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            print_usage(UsageError(f"cannot write the result: {error.strerror}"), settings)
        else:
            print_unexpected(error, settings)
        return _UNEXPECTED
    finally:
        if settings.stop is not None:
            settings.stop()
