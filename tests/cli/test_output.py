from __future__ import annotations

from pathlib import Path

import pytest

from costsim.cli._console import UsageError
from costsim.cli._output import choose_format, write_result

FORMATS = ("table", "json", "markdown")


@pytest.mark.parametrize(
    ("asked", "output", "expected"),
    [
        (None, None, "table"),
        (None, "-", "table"),
        (None, "plan.json", "json"),
        (None, "plan.MD", "markdown"),
        ("json", "plan.md", "json"),
        ("json", None, "json"),
    ],
)
def test_suffix_picks_the_format(asked: str | None, output: str | None, expected: str) -> None:
    assert choose_format(asked, Path(output) if output else None, FORMATS) == expected


@pytest.mark.parametrize("output", ["plan", "plan.html", "plan.docx"])
def test_a_suffix_that_names_no_format_is_refused(output: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_format(None, Path(output), FORMATS)
    assert caught.value.hint == "add --format with one of table, json, markdown"


def test_result_on_stdout_ends_its_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    write_result("a result", None)
    write_result("another\n", Path("-"))
    assert capsys.readouterr().out == "a result\nanother\n"


def test_files_appear_together(tmp_path: Path) -> None:
    write_result("# plan", tmp_path / "plan.md", beside={"plan-time.svg": "<svg/>"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan-time.svg", "plan.md"]
    assert (tmp_path / "plan.md").read_text() == "# plan\n"


def test_an_error_leaves_nothing_behind_and_the_old_file_whole(tmp_path: Path) -> None:
    target = tmp_path / "plan.md"
    target.write_text("old")
    with pytest.raises(UsageError, match="cannot write"):
        write_result("new", target, beside={"absent/plan.svg": "<svg/>"})
    assert [path.name for path in tmp_path.iterdir()] == ["plan.md"]
    assert target.read_text() == "old"


def test_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        write_result("new", tmp_path / "absent" / "plan.md")


def test_a_link_and_the_mode_of_a_file_are_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_result("new", link)
    assert link.is_symlink()
    assert real.read_text() == "new\n"
    assert real.stat().st_mode & 0o777 == 0o640
