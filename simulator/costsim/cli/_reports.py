"""Writing a report: to the terminal in its width and colours, or to files with their charts."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from costsim.cli._console import UsageError, current_settings
from costsim.cli._output import write_bytes, write_result

if TYPE_CHECKING:
    from costsim.reporting.model import Report


def write_report(
    report: Report,
    format_name: str,
    output: Path | None,
    *,
    width: int = 80,
    widest: int = 160,
    brief: bool = False,
) -> None:
    """Write `report` in a format of the registry; without a terminal it is `width` columns wide.

    Raises:
        UsageError: if a file cannot be written.
    """
    from costsim.reporting import RenderOptions, render, render_files

    if format_name == "pdf":
        _write_pdf(report, output)
        return
    to_stdout = output is None or output == Path("-")
    on_terminal = to_stdout and sys.stdout.isatty()
    options = RenderOptions(
        width=min(shutil.get_terminal_size().columns, widest) if on_terminal else width,
        color=to_stdout and current_settings().colored(sys.stdout),
        encoding=sys.stdout.encoding or "utf-8",
        brief=brief,
    )
    if output is None or to_stdout:
        write_result(render(report, format_name, options), output)
        return
    files = render_files(report, format_name, output, options)
    text = files.pop(output.name)
    write_result(text, output, files)


def _write_pdf(report: Report, output: Path | None) -> None:
    """Write a report as PDF, printed by an installed Chromium."""
    from costsim.reporting import render
    from costsim.reporting.pdf import print_pdf

    if output is None or output == Path("-"):
        raise UsageError("a PDF is no text", "name its file, as in `-o budget.pdf`")
    write_bytes(print_pdf(render(report, "html")), output)
