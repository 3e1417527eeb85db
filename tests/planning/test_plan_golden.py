"""What a plan prints, to the letter: read the diff of the goldens before accepting it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from costsim.cli import main
from planning.scenarios import written


@pytest.mark.parametrize(
    ("format_name", "suffix"), [("table", "txt"), ("markdown", "md"), ("csv", "csv")]
)
def test_printed_plan(
    format_name: str,
    suffix: str,
    tmp_path: Path,
    golden: Callable[[str, str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", str(written(tmp_path)), "--format", format_name]) == 0
    golden(f"plan/gpt2_xl.{suffix}", capsys.readouterr().out)
