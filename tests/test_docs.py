"""The documentation site: its commands run in order, its reference is what the code says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from costsim.cli import main

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the commands of a page follow each other."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "scenarios").symlink_to(ROOT / "scenarios")
    return folder


@pytest.mark.parametrize("page", ["index", "how-to"])
def test_commands_run(
    page: str,
    desk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(desk)
    if not Path("mine.yaml").exists():
        assert main(["init", "mine.yaml"]) == 0
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) >= 5
    for line in commands:
        program, *arguments = shlex.split(line)
        assert program == "costsim"
        if arguments == ["init", "mine.yaml"]:  # it is there
            continue
        assert main(arguments) == 0, (line, capsys.readouterr().err)
        capsys.readouterr()


def test_the_reference_is_what_the_code_says() -> None:
    found = subprocess.run(
        [sys.executable, ROOT / ".ci/reference.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def test_every_page_is_in_the_site() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def pages(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        parts = entry.values() if isinstance(entry, dict) else entry
        return [page for part in parts for page in pages(part)]  # type: ignore[union-attr]

    listed = pages(site["nav"])
    assert len(listed) == len(set(listed))
    there = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert set(listed) == there
