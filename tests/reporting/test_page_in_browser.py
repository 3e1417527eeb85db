"""A report in a browser, wide and on a phone: nothing squeezed, nothing said, nothing asked."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from browser import dom, probed
from costsim.planning import plan
from costsim.reporting import render
from costsim.reporting.plans import plan_report
from costsim.resources import data_folder

PROBE = """
const found = {};
document.querySelectorAll("iframe").forEach(function (frame) {
  const inside = frame.contentDocument, squeezed = [];
  inside.querySelectorAll("td, th, dt, dd, .value").forEach(function (cell) {
    if (cell.offsetParent !== null && cell.scrollWidth > cell.clientWidth + 1) {
      squeezed.push(cell.textContent.trim().slice(0, 60));
    }
  });
  const page = inside.documentElement;
  found[frame.width] = { squeezed: squeezed, over: page.scrollWidth - page.clientWidth,
    cells: inside.querySelectorAll("td").length,
    asked: frame.contentWindow.performance.getEntriesByType("resource").length };
});
document.getElementById("probe").textContent = JSON.stringify(found);
"""


@pytest.mark.parametrize(
    "name",
    [
        "gpt3",
        "resnet50-images",
        "batch-offline",
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in (
                "bert-embedding",
                "deepseek-r1-reasoning",
                "llama2-70b-lora-compressed",
                "llama3-70b-chat",
                "resnet50-training",
                "stable-diffusion",
                "stable-diffusion-training",
            )
        ),
    ],
)
def test_no_cell_is_squeezed_and_nothing_is_asked(name: str, tmp_path: Path) -> None:
    report = plan_report(plan(data_folder("scenarios") / f"{name}.yaml"))
    page = html.escape(render(report, "html"), quote=True)
    frames = "".join(
        f'<iframe width="{width}" height="900" srcdoc="{page}"></iframe>' for width in (390, 1440)
    )
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(
        f'<!doctype html><meta charset="utf-8"><body>{frames}<pre id="probe"></pre>'
        f"<script>addEventListener('load', function () {{ {PROBE} }});</script></body>",
        encoding="utf-8",
    )
    text, console = dom(wrapper, tmp_path, width=1500)
    assert console == []
    found = json.loads(probed(re.sub(r'srcdoc="[^"]*"', "", text)))
    for width in ("390", "1440"):
        assert found[width]["cells"] > 20
        assert found[width]["squeezed"] == []
        assert found[width]["over"] <= 0
        assert found[width]["asked"] == 0
