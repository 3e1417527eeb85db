"""A report as PDF: its page, printed by a Chromium that is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from costsim.errors import CostsimError

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_LIMIT_S = 120


def find_browser() -> str | None:
    """Return the path of an installed Chromium or Chrome; None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def print_pdf(html: str) -> bytes:
    """Return a page printed on A4.

    Raises:
        CostsimError: where no Chromium is installed, or it prints nothing.
    """
    program = find_browser()
    if program is None:
        raise CostsimError(
            "a PDF is printed by Chromium, and none is installed",
            hint="install chromium, or write `-o report.html` and print it from a browser",
        )
    with tempfile.TemporaryDirectory(prefix="costsim-pdf-") as folder:
        page, printed = Path(folder, "report.html"), Path(folder, "report.pdf")
        page.write_text(html, encoding="utf-8")
        command = [
            program,
            "--headless=new",
            "--no-sandbox",  # the page is our own, loads nothing, and its policy refuses scripts
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={printed}",
            page.as_uri(),
        ]
        try:
            subprocess.run(command, capture_output=True, timeout=_LIMIT_S, check=True)
            return printed.read_bytes()
        except (OSError, subprocess.SubprocessError):
            raise CostsimError(
                f"{program} printed no PDF", hint="write `-o report.html` and print it"
            ) from None
