"""What the command line says besides results: errors with their place, notes, colour."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

import click

from costsim.errors import Location, Problem

_MAX_PROBLEMS = 20  # printed; a file with more is most likely the wrong file
_MAX_SOURCE_BYTES = 2_000_000  # of a file that an excerpt is cut from
_EXCERPT_WIDTH = 96
_QUIET_S = 1.0  # that may pass before a terminal is told what is going on
_WIPE = "\r\x1b[K"  # to the start of the line, and clear it


@dataclass(slots=True)
class Settings:
    """How much this run says, and in colour or not."""

    color: Literal["auto", "always", "never"] = "auto"
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    status: bool = True  # whether a terminal is told what is going on
    stop: Callable[[], None] | None = None  # ends listening to the package's log
    shown: bool = False  # whether a line about the work stands on the terminal

    def colored(self, stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
        """Return whether to colour `stream`: --color, then NO_COLOR, FORCE_COLOR, a terminal."""
        if self.color != "auto":
            return self.color == "always"
        if environment.get("NO_COLOR"):
            return False
        if environment.get("FORCE_COLOR"):
            return True
        return stream.isatty() and environment.get("TERM") != "dumb"


class UsageError(click.UsageError):
    """A usage error with a hint at what would be right."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def current_settings() -> Settings:
    """Return the settings of the run, the defaults outside one."""
    context = click.get_current_context(silent=True)
    return (context and context.find_object(Settings)) or Settings()


def note(message: str) -> None:
    """Tell the user something beside the result, unless --quiet."""
    settings = current_settings()
    if not settings.quiet:
        _print(message, settings)


def follow(settings: Settings) -> None:
    """Tell what the package logs of its work, until `settings.stop` is called.

    With --verbose every line, with the seconds passed; else, on a terminal, the latest alone once a
    second has passed, wiped before anything else is printed.
    """
    import logging  # not before something is to be told
    import shutil

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            passed_s, message = time.perf_counter() - started_s, _printable(record.getMessage())
            if settings.verbose:
                _print(f"{passed_s:6.2f} s  {message}", settings)
            elif settings.status and not settings.quiet and passed_s > _QUIET_S:
                settings.shown = True
                room = max(shutil.get_terminal_size().columns - 1, 1)
                sys.stderr.write(f"{_WIPE}{f'{passed_s:.0f} s  {message}'[:room]}")
                sys.stderr.flush()

    log, told, started_s = logging.getLogger("costsim"), Told(), time.perf_counter()
    before = log.level
    log.addHandler(told)
    log.setLevel(logging.INFO)

    def stop() -> None:
        wipe(settings)
        log.removeHandler(told)
        log.setLevel(before)

    settings.stop = stop


def wipe(settings: Settings | None = None) -> None:
    """Take the line about the work off the terminal, where one is shown."""
    settings = settings or current_settings()
    if settings.shown:
        settings.shown = False
        sys.stderr.write(_WIPE)
        sys.stderr.flush()


def print_problems(problems: Sequence[Problem], settings: Settings) -> None:
    """Print every problem with its place, the line it stands in, and the hint."""
    sources: dict[str, tuple[str, ...]] = {}
    for problem in problems[:_MAX_PROBLEMS]:
        where = f"{problem.location}: " if problem.location else ""
        _print(f"{_label('error')} {_printable(where + problem.message)}", settings)
        if problem.location and problem.location.line:
            file = problem.location.file
            lines = sources[file] = sources.get(file) or _source_lines(file)
            _print("".join(_excerpt(problem.location, lines)), settings, end="")
        if problem.hint:
            _print(f"{_label('hint')} {_printable(problem.hint)}", settings)
    if len(problems) > _MAX_PROBLEMS:
        _print(f"{_label('error')} … and {len(problems) - _MAX_PROBLEMS} more", settings)


def print_usage(error: click.UsageError, settings: Settings) -> None:
    """Print a usage error, or the help of a command that was given nothing."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        _print(error.format_message(), settings)
        return
    hint = error.hint if isinstance(error, UsageError) else None
    message = error.format_message().rstrip(".")
    message = message[:1].lower() + message[1:]
    if isinstance(error, click.NoSuchOption):
        message = f"no such option `{error.option_name}`"
        near = " or ".join(f"`{name}`" for name in error.possibilities or ())
        hint = f"did you mean {near}?" if near else None
    if hint is None and error.ctx:
        hint = f"`{error.ctx.command_path} --help` shows what it takes"
    print_problems([Problem(message, hint=hint)], settings)


def print_unexpected(error: Exception, settings: Settings) -> None:
    """Print an error that is costsim's own fault."""
    if settings.debug:
        import traceback  # on the way of an error alone

        _print("".join(traceback.format_exception(error)), settings, end="")
    name = type(error).__name__
    message = " ".join(str(error).split())
    described = f"unexpected {name}: {message}" if message else f"unexpected {name}"
    hint = "this is a fault of costsim: please report it with the command and its input"
    if not settings.debug:
        hint += "; --debug shows the traceback"
    print_problems([Problem(described, hint=hint)], settings)


def _label(word: str) -> str:
    return click.style(f"{word}:", fg="red" if word == "error" else "cyan", bold=True)


def _excerpt(location: Location, lines: Sequence[str]) -> list[str]:
    """Return the source line of `location` with a mark under it; nothing if it is not there."""
    if location.line > len(lines):
        return []
    line, column = lines[location.line - 1].rstrip(), max(location.column, 1) - 1
    start = max(0, column - _EXCERPT_WIDTH // 2) if len(line) > _EXCERPT_WIDTH else 0
    shown = _printable(line[start : start + _EXCERPT_WIDTH].replace("\t", " "))
    number = str(location.line)
    edge, margin = click.style("|", fg="blue", bold=True), " " * len(number)
    excerpt = [
        f" {margin} {edge}\n",
        f" {click.style(number, fg='blue', bold=True)} {edge} {shown}\n",
    ]
    if location.column:
        word = len(line[column:]) - len(line[column:].lstrip(_WORD))
        mark = click.style(
            "^" * max(1, min(word, _EXCERPT_WIDTH + start - column)), fg="red", bold=True
        )
        excerpt.append(f" {margin} {edge} {' ' * (column - start)}{mark}\n")
    return excerpt


_WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./%$'\""


def _source_lines(file: str) -> tuple[str, ...]:
    try:
        path = Path(file)
        if not path.is_file() or path.stat().st_size > _MAX_SOURCE_BYTES:
            return ()
        return tuple(path.read_text(encoding="utf-8-sig", errors="replace").splitlines())
    except (OSError, ValueError):
        return ()


def _printable(text: str) -> str:
    """Return `text` without control characters, which a hostile file could send to a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _print(text: str, settings: Settings, end: str = "\n") -> None:
    wipe(settings)
    click.echo(text + end, file=sys.stderr, nl=False, color=settings.colored(sys.stderr))
