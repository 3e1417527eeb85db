"""Reports held to axe-core's rules of WCAG 2.1 AA, and to what eyes found wrong, in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from costsim.planning import plan
from costsim.reporting import render
from costsim.reporting.plans import plan_report
from costsim.resources import data_folder
from devtools import Page, chromium

_AXE = Path(__file__).parents[2] / ".ci/node_modules/axe-core/axe.min.js"
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
_SLOW = (
    "bert-embedding",
    "bert-pretraining",
    "deepseek-r1-reasoning",
    "llama2-70b-lora-compressed",
    "llama3-70b-chat",
    "rag-prefix-cache",
    "resnet50-training",
    "stable-diffusion",
    "stable-diffusion-training",
    "starters/training",
    "starters/job",
)
NAMES = ["gpt3", "resnet50-compressed", *(pytest.param(n, marks=pytest.mark.slow) for n in _SLOW)]

# A table or chart that must be scrolled; a number or a `device-hour` that breaks over two lines.
_CUT = """[...document.querySelectorAll(".scroll")].filter((one) => one.offsetParent !== null
  && one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent.trim().slice(0, 40))"""
_BROKEN = """[...document.querySelectorAll(".number, .whole")].filter((one) =>
  one.getClientRects().length > 1).map((one) => one.textContent)"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture(scope="module", params=NAMES)
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = plan_report(plan(data_folder("scenarios") / f"{request.param}.yaml"))
    written = tmp_path_factory.mktemp("report") / "report.html"
    written.write_text(render(found, "html"), encoding="utf-8")
    return written


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing(page: Page, report: Path, width: int, dark: bool) -> None:
    if not _AXE.exists():
        pytest.skip("axe-core is not installed; `.ci/run` installs it where npm is")
    page.look(width=width, dark=dark)
    page.open(report.as_uri())
    page.ask(_AXE.read_text("utf-8") + "; true")
    options = json.dumps({"runOnly": {"type": "tag", "values": _TAGS}})
    found: list[dict[str, Any]] = page.ask(
        f"axe.run(document, {options}).then((all) => all.violations.map((one) => ({{ id: one.id,"
        " impact: one.impact, where: one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)"
        " + ' | ' + node.failureSummary) })))"
    )
    assert found == []


@pytest.mark.parametrize("media", ["screen", "print"])
def test_nothing_is_cut_or_broken(page: Page, report: Path, media: str) -> None:
    page.look(width=1440 if media == "screen" else 673, media=media)  # 178 mm of an A4 page
    page.open(report.as_uri())
    assert page.ask(_CUT) == []
    assert page.ask(_BROKEN) == []
    assert page.ask("document.documentElement.scrollWidth <= innerWidth")
    assert page.console == []


def test_text_reads_as_people_write(page: Page, report: Path) -> None:
    page.look(width=1440)
    page.open(report.as_uri())
    text = page.ask("document.querySelector('main').innerText")
    assert "`" not in text
    assert not re.findall(r"\$\d\S*e-\d+", text), "an amount in powers of ten"
    assert not re.findall(r"(?<![\d,.])1 (?:replicas|devices|requests|steps|days)\b", text)
    assert not re.findall(r"Between (\d+) and \1\b", text)
    assert not re.findall(r"(?<![\d.])0\.000\d min\b|\bstairs\b", text)
