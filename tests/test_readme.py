"""The README: its commands run, its Python runs, and what it shows is what is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import costsim
from costsim.cli import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def blocks(language: str, start: str = "") -> list[str]:
    return [text for tag, text in BLOCKS if tag == language and text.startswith(start)]


def test_first_screen_has_the_two_commands() -> None:
    first = README[:1500]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("plan", "test"):
        assert f"make {target}" in first
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    check = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make test" in check


def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    commands = [
        line.split("#")[0].split()
        for text in blocks("", "costsim")
        for line in text.splitlines()
        if line.startswith("costsim ")
    ]
    assert len(commands) >= 3
    for _, *arguments in commands:
        assert main(arguments) == 0, arguments


def test_python_runs() -> None:
    for text in blocks("python"):
        found = subprocess.run(
            [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stderr


def test_shown_answer_is_what_is_printed(
    capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    (shown,) = blocks("text", "ANSWER")
    assert main(["plan", str(ROOT / "scenarios" / "gpt3.yaml")]) == 0
    printed = capsys.readouterr().out
    if request.config.getoption("--update-golden"):
        answer = printed[printed.index("ANSWER") :].rstrip() + "\n"
        (ROOT / "README.md").write_text(README.replace(shown, answer), encoding="utf-8")
        return
    assert shown.strip() in printed


def test_public_names_are_what_it_documents() -> None:
    for name in costsim.__all__:
        assert hasattr(costsim, name)
