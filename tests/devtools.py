"""A headless Chromium that is driven over a pipe: what a person does, and what she sees.

It speaks the DevTools protocol, so that no driver has to be installed.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import browser

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-features=IsolateSandboxedIframes",  # so that a frame's context is seen from its page
    "--remote-debugging-pipe",
)


class Page:
    """One page of the browser; `console` holds what it wrote, policies that refuse among it."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.console: list[str] = []
        self.requests: list[str] = []
        self.contexts: list[int] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Return the answer of the browser to one command."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            got = self._next(60)
            if got.get("id") == self._number:
                assert "error" not in got, f"{method}: {got['error']}"
                return got["result"]

    def _next(self, limit_s: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], limit_s)[0], "the browser does not answer"
            self._buffer += os.read(self._read, 1 << 20)
        text, _, self._buffer = self._buffer.partition(b"\0")
        got = json.loads(text)
        self._note(got.get("method"), got.get("params", {}))
        return got

    def _note(self, event: str | None, given: dict[str, Any]) -> None:
        if event == "Log.entryAdded":
            self.console.append(given["entry"]["text"])
        elif event == "Runtime.consoleAPICalled":
            self.console.append(str(given["args"]))
        elif event == "Runtime.exceptionThrown":
            self.console.append(given["exceptionDetails"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])
        elif event == "Runtime.executionContextCreated":
            self.contexts.append(given["context"]["id"])
        elif event == "Runtime.executionContextDestroyed":
            self.contexts.remove(given["executionContextId"])
        elif event == "Runtime.executionContextsCleared":
            self.contexts.clear()

    def look(
        self, *, width: int, height: int = 900, dark: bool = False, media: str = "screen"
    ) -> None:
        """Set the width in CSS pixels, light or dark, and screen or print."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def open(self, address: str) -> None:
        """Open an address and wait until it stands."""
        self.call("Page.navigate", url="about:blank")
        self.console.clear()
        self.requests.clear()
        self.call("Page.navigate", url=address)
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'")

    def ask(self, expression: str, *, frame: bool = False) -> Any:
        """Return the value of an expression in the page, or in its frame made last."""
        where = {"contextId": self.contexts[-1]} if frame else {}
        got = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
            **where,
        )
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def wait(self, expression: str, *, frame: bool = False, limit_s: float = 60) -> None:
        """Wait until an expression holds."""
        end = time.monotonic() + limit_s
        while not self.ask(expression, frame=frame):
            assert time.monotonic() < end, f"not within {limit_s:g} s: {expression}; {self.console}"
            time.sleep(0.05)

    def type(self, field: str, text: str) -> None:
        """Set a field as a person does, so that the page hears of it."""
        self.ask(
            f"(() => {{ const field = document.querySelector({field!r});"
            f" field.value = {json.dumps(text)};"
            " field.dispatchEvent(new Event('input', { bubbles: true })); })()"
        )

    def press(self, button: str) -> None:
        """Click an element."""
        self.ask(f"document.querySelector({button!r}).click()")

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write a picture of the page."""
        got = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(got["data"]))


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """Give a page of a browser that ends with the block; `folder` holds its profile."""
    to_browser, write = os.pipe()
    read, from_browser = os.pipe()
    command = shlex.join([browser(), *_FLAGS, f"--user-data-dir={folder / 'profile'}"])
    # The browser reads from 3 and writes to 4; by 8 and 9 neither takes the other's place.
    shell = f"exec 8<&{to_browser} 9>&{from_browser}; exec {command} 3<&8 4>&9 8<&- 9>&-"
    process = subprocess.Popen(
        ["bash", "-c", shell],
        pass_fds=(to_browser, from_browser),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Page(write, read)
    finally:
        os.close(write)
        os.close(read)
        process.kill()
        process.wait()
