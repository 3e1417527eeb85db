"""Where a result goes: stdout, or files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from costsim.cli._console import UsageError, note, wipe
from costsim.errors import suggestion
from costsim.paths import exists, is_file, is_folder, unfinished

_FORMAT_OF_SUFFIX = {
    ".json": "json",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".csv": "csv",
    ".txt": "table",
    ".tex": "latex",
    ".xlsx": "xlsx",
}


def report_formats() -> dict[str, tuple[str, ...]]:
    """Return the formats that reports can be written in, each with the suffixes that choose it."""
    from costsim.reporting import FORMATS

    return {**{name: entry.suffixes for name, entry in FORMATS.items()}, "pdf": (".pdf",)}


def choose_format(
    asked: str | None, output: Path | None, known: Sequence[str] | Mapping[str, Sequence[str]]
) -> str:
    """Return the format asked for, else the one the suffix of `output` names, else the first known.

    Raises:
        UsageError: if the command knows no such format, or the suffix names none.
    """
    if asked:
        if asked not in known:
            raise UsageError(f"`{asked}` is no format of this command", suggestion(asked, known))
        return asked
    if output is None or output == Path("-"):
        return next(iter(known))
    suffixes = _FORMAT_OF_SUFFIX
    if isinstance(known, Mapping):
        suffixes = {suffix: name for name, own in known.items() for suffix in own}
    chosen = suffixes.get(output.suffix.lower())
    if chosen is None or chosen not in known:
        suffix = f"suffix `{output.suffix}`" if output.suffix else "missing suffix"
        hint = "add --format with one of " + ", ".join(known)
        raise UsageError(f"the {suffix} of `{output}` does not say which format", hint)
    return chosen


def write_result(text: str, output: Path | None, beside: Mapping[str, str] | None = None) -> None:
    """Write `text` to `output` (None or "-": stdout), and `beside`, by name, into its folder.

    All files are complete before the first takes its name, so that an error leaves nothing behind.

    Raises:
        UsageError: if a file cannot be written.
    """
    text = text if text.endswith("\n") else text + "\n"
    if output is None or output == Path("-"):
        wipe()
        click.echo(text, nl=False, color=True)  # the renderer decides about colour
        sys.stdout.flush()
        return
    if is_folder(output):
        raise UsageError(f"`{output}` is a folder, not a file")
    if exists(output) and not is_file(output):  # a pipe or a terminal has no name to take over
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write `{output}`: {error.strerror}") from None
        return
    contents: dict[Path, str | bytes] = {
        output.parent / name: content for name, content in (beside or {}).items()
    }
    contents[output] = text
    _write_whole(contents, output)
    charts = f" and {len(beside)} charts beside it: {', '.join(beside)}" if beside else ""
    note(f"wrote {output}{charts}")


def write_bytes(content: bytes, output: Path | None) -> None:
    """Write a file that is no text; it needs a name.

    Raises:
        UsageError: if there is none, or the file cannot be written.
    """
    if output is None or output == Path("-"):
        raise UsageError("this format is no text", "name its file, as in `-o budget.xlsx`")
    if is_folder(output):
        raise UsageError(f"`{output}` is a folder, not a file")
    _write_whole({output: content}, output)
    note(f"wrote {output}")


def names_folder(output: str | None) -> bool:
    """Return whether an output is to be a folder: it is one, or ends as one."""
    return output is not None and (output.endswith(("/", os.sep)) or is_folder(Path(output)))


def write_folder(files: Mapping[str, str], folder: Path) -> None:
    """Write files by name into a folder, made where there is none; what else lies in it stays.

    Raises:
        UsageError: if one cannot be written; then none is.
    """
    if exists(folder) and not is_folder(folder):
        raise UsageError(f"`{folder}` is a file, not a folder")
    new = not exists(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder `{folder}`: {error.strerror}") from None
    try:
        _write_whole({folder / name: content for name, content in files.items()}, folder)
    except UsageError:
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _write_whole(contents: Mapping[Path, str | bytes], output: Path) -> None:
    """Write files that all are complete before the first takes its name."""
    written: dict[Path, Path] = {}
    try:
        for target, content in contents.items():
            target = target.resolve()  # a link stays a link
            if is_folder(target):
                raise UsageError(f"`{target}` is a folder, not a file")
            temporary = unfinished(target)
            written[temporary] = target
            data = content if isinstance(content, bytes) else content.encode("utf-8")
            temporary.write_bytes(data)
            if target.exists():
                temporary.chmod(target.stat().st_mode)
        for temporary, target in written.items():
            temporary.replace(target)
    except OSError as error:
        raise UsageError(f"cannot write `{output}`: {error.strerror}") from None
    finally:
        for temporary in written:
            with contextlib.suppress(OSError):  # a name too long for a file was never made
                temporary.unlink(missing_ok=True)
