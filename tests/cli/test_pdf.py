"""`-o report.pdf`: printed by Chromium where there is one, refused in words where not."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser import browser
from costsim.cli import main

SCENARIO = """\
name: images
model: resnet50
workload: {kind: forward, requests_per_s: 500, latency: 30 ms, max_batch: 32}
hardware: {system: nvidia-t4, precision: fp16}
"""


def test_pdf_is_printed(tmp_path: Path) -> None:
    browser()
    (tmp_path / "s.yaml").write_text(SCENARIO)
    output = tmp_path / "budget.pdf"
    assert main(["plan", str(tmp_path / "s.yaml"), "-o", str(output)]) == 0
    assert output.read_bytes().startswith(b"%PDF-")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_without_a_browser_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text(SCENARIO)
    monkeypatch.setattr("costsim.reporting.pdf.find_browser", lambda: None)
    output = tmp_path / "budget.pdf"
    assert main(["plan", str(tmp_path / "s.yaml"), "-o", str(output)]) == 1
    assert "install chromium" in capsys.readouterr().err
    assert not output.exists()
