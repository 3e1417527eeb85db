"""What a person does with `costsim serve`, in a browser: plan, compare, share, and err."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
import uvicorn

from costsim.planning import plan
from costsim.web.app import make_app
from devtools import Page, chromium

SCENARIO: dict[str, Any] = {
    "name": "two devices",
    "model": "llama-3-8b",
    "workload": {
        "kind": "training",
        "tokens": "1 B tokens",
        "sequence": 4096,
        "global_batch": 64,
    },
    "hardware": {"system": ["nvidia-h100-sxm5-80gb", "nvidia-a100-sxm4-80gb"], "devices": 8},
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(make_app(time_limit_s=120), log_level="error"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("browser")) as made:
        made.look(width=1440)
        yield made


def _shown(page: Page) -> str:
    """Return the answer that stands, once it does."""
    page.wait("document.querySelector('#answer').textContent !== ''")
    return page.ask("document.querySelector('#answer').innerText")


def _link(address: str, scenario: object) -> str:
    return f"{address}#scenario={quote(json.dumps(scenario))}"


def test_a_new_plan_and_its_what_if(page: Page, address: str) -> None:
    page.open(address)
    page.wait("document.querySelector('#system').selectedOptions.length === 1")
    page.type("#tokens", "1 B tokens")
    page.type("#devices", "8")
    page.type("#batch", "64")
    page.press("form button")
    assert "8 × NVIDIA H100" in _shown(page)
    page.wait("!document.querySelector('#report').hidden")
    page.wait("document.querySelector('.whatif')?.hidden === false", frame=True)
    cost = "document.querySelector('#what-if-usd').textContent"
    before = page.ask(cost, frame=True)
    page.ask(
        "(() => { const field = document.querySelector('#what-if input[name=price]');"
        " field.value = String(2 * Number(field.value));"
        " field.dispatchEvent(new Event('input', { bubbles: true })); })()",
        frame=True,
    )
    assert before.startswith("$")
    assert page.ask(cost, frame=True) != before
    assert page.console == []
    assert all(one.startswith((address, "about:", "data:")) for one in page.requests)


def test_a_link_holds_the_scenario_and_compares(page: Page, address: str) -> None:
    page.open(_link(address, SCENARIO))
    shown = _shown(page)
    assert f"${plan(SCENARIO).best.cost_usd:,.0f}" in shown
    assert page.ask("document.querySelectorAll('#answer tbody tr').length") >= 2
    assert page.ask("document.querySelector('#system').selectedOptions.length") == 2
    held = page.ask("JSON.parse(decodeURIComponent(location.hash.slice('#scenario='.length)))")
    assert held == SCENARIO
    assert page.console == []


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_its_window(page: Page, address: str, width: int, dark: bool) -> None:
    page.look(width=width, dark=dark)
    page.open(_link(address, SCENARIO))
    _shown(page)
    assert page.ask("document.documentElement.scrollWidth") <= width
    page.look(width=1440)


def test_bad_input_is_named_and_never_markup(page: Page, address: str) -> None:
    wrong = {**SCENARIO, "model": "lama-3-8b<img src=x onerror=alert(1)>"}
    page.open(_link(address, wrong))
    assert "lama-3-8b<img" in _shown(page)
    assert page.ask("document.querySelectorAll('#answer img').length") == 0
    assert page.ask("document.querySelector('#report').hidden")
    page.open(f"{address}#scenario=%7Bno-json")
    assert "the link holds no scenario" in _shown(page)
