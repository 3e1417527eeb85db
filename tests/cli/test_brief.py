"""The answer in a terminal: short by default, whole on request, its figures never cut."""

from __future__ import annotations

import pytest

from costsim.cli import main


@pytest.mark.parametrize("name", ["gpt3", "resnet50-images", "batch-offline"])
def test_answer_fits_a_screen(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert "--full" in lines[-1]


def test_full_is_the_whole_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "resnet50-images", "--full"]) == 0
    full = capsys.readouterr().out
    assert main(["plan", "resnet50-images", "--format", "table"]) == 0
    assert capsys.readouterr().out == full
    assert {"BUDGET", "SOURCES", "ANSWER"} <= set(full.splitlines())


def test_verdict_says_which_limit_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    limits = ("--set", "limits.cost=2.5 M$", "--set", "limits.deadline=10 days")
    assert main(["plan", "gpt3", *limits]) == 4
    said = " ".join(capsys.readouterr().out.split())
    assert "Within the budget of $2,500,000 (kept in " in said
    assert "over the deadline of 10 days" in said
