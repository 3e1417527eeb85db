"""A headless Chromium without a driver: a page in, its DOM, console and picture out."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from costsim.reporting.pdf import find_browser

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--enable-logging=stderr",
    "--virtual-time-budget=4000",
)


def browser() -> str:
    """Return the path of a Chromium, or skip the test where there is none."""
    found = find_browser()
    if found is None:
        pytest.skip("no Chromium is installed; `.ci/run` installs it")
    return found


def dom(
    page: Path, tmp_path: Path, *, width: int = 1440, dark: bool = False
) -> tuple[str, list[str]]:
    """Return the DOM of a page once it stands, and what it wrote to the console."""
    dark_flags = ("--force-dark-mode", "--blink-settings=preferredColorScheme=0") if dark else ()
    done = subprocess.run(
        [
            browser(),
            *_FLAGS,
            *dark_flags,
            f"--window-size={width},2000",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            page.resolve().as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, re.findall(r"CONSOLE[^\n]*", done.stderr)


def with_probe(html: str, script: str) -> str:
    """Return a page that also runs a test's script, which its own policy would refuse."""
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*/>', "", html)
    return html.replace("</body>", f'<pre id="probe"></pre><script>{script}</script></body>')


def probed(text: str) -> str:
    """Return what a test's script wrote into the page."""
    import html

    found = re.search(r'<pre id="probe">(.*?)</pre>', text, re.DOTALL)
    assert found, "the test's script wrote nothing"
    return html.unescape(found[1])
