from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel, ConfigDict

import costsim
from costsim.cli import COMMANDS, app, main
from costsim.cli._console import Settings, note
from costsim.documents import load_document, parse_as
from costsim.errors import InfeasiblePlanError, OverBudgetError, Problem, SpecError
from costsim.quantities import Bytes

Golden = Callable[[str, str], None]
Run = Callable[..., tuple[int, str, str]]


class Training(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tokens: int
    memory: Bytes | None = None


class Scenario(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    training: Training


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def register() -> Iterator[Callable[[Callable[..., Any]], None]]:
    """Let a test add a command of its own, `probe`."""

    def add(function: Callable[..., Any]) -> None:
        app.add_command(click.command()(function), "probe")

    yield add
    app.commands.pop("probe", None)


@pytest.fixture
def reads_scenario(register: Callable[..., None], tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.chdir(tmp_path)
    register(lambda: parse_as(load_document("scenario.yaml"), Scenario))
    return tmp_path / "scenario.yaml"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name in app.list_commands(None)])  # type: ignore[arg-type]
def test_every_listed_command_loads_and_has_help(name: str, run: Run) -> None:
    code, out, err = run(name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: costsim {name}")
    assert "--color" in out


def test_help_says_what_exit_codes_mean(run: Run, golden: Golden) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    before, _, after = out.partition("Commands:\n")
    golden("cli/help.txt", before + "Commands:\n  …\n\n" + after.partition("\n\n")[2])


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"costsim {costsim.__version__}\n", "")


def _python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )


def test_help_imports_nothing_heavy() -> None:
    done = _python(
        "import sys; from costsim.cli import main; main(['--help']);"
        "heavy = {'numpy', 'sympy', 'pydantic', 'yaml', 'rich', 'jinja2', 'importlib.metadata'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    assert done.stderr.strip() == "[]"


def test_importing_costsim_imports_nothing_heavy() -> None:
    script = "import sys, costsim; print(sorted({'numpy', 'sympy', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "unknown_keys",
            "name: gpt3\ntraining:\n  tokns: 300\n  memory: 80\n# a comment\nnaem: x\n",
        ),
        ("duplicate_key", "name: a\ntraining: {tokens: 1}\nname: b\n"),
        ("not_yaml", "name: [a\ntraining: {tokens: 1}\n"),
        ("empty", ""),
        (
            "long_line",
            f"name: x\ntraining: {{memory: 80 GB, {' ' * 200}tokens: many}} # {'#' * 200}",
        ),
        ("hostile", 'name: x\ntraining: {tokens: "\\e[31mred"} # \x9b31m\ttab\n'),
        ("not_utf8", b"name: \xff\n"),
        ("missing_file", None),
        ("many", "name: x\ntraining: {tokens: 1}\n" + "".join(f"k{i}: 1\n" for i in range(30))),
    ],
)
def test_bad_input_is_shown_where_it_stands(
    name: str, text: str | bytes | None, reads_scenario: Path, run: Run, golden: Golden
) -> None:
    if text is not None:
        reads_scenario.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, out, err = run("probe")
    assert (code, out) == (1, "")
    assert "\x1b" not in err
    assert "\x9b" not in err
    golden(f"cli/error_{name}.txt", err)


def test_errors_in_colour(reads_scenario: Path, run: Run, golden: Golden) -> None:
    reads_scenario.write_text("name: gpt3\ntraining: {tokns: 300}\n")
    golden("cli/error_in_colour.txt", run("--color", "always", "probe")[2])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpecError("bad"), 1),
        (InfeasiblePlanError("needs 96.2 GB, has 80"), 3),
        (OverBudgetError("costs more than it may"), 4),
        (ValueError("oops"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, register: Callable[..., None], run: Run
) -> None:
    def fail() -> None:
        raise error

    register(fail)
    assert run("probe")[:2] == (code, "")


def test_an_unexpected_error_is_one_line_unless_debugging(
    register: Callable[..., None], run: Run, golden: Golden
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("division by zero\nof two lines")

    register(fail)
    golden("cli/error_unexpected.txt", run("probe")[2])
    assert "Traceback" in run("--debug", "probe")[2]
    assert "Traceback" in run("probe", "--debug")[2]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("no_command", []),
        ("unknown_command", ["schem"]),
        ("unknown_option", ["schema", "--out"]),
        ("bad_choice", ["--color", "blue", "schema"]),
    ],
)
def test_usage_errors(name: str, arguments: list[str], run: Run, golden: Golden) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    if name == "no_command":
        assert err.startswith("Usage: costsim")
    else:
        golden(f"cli/usage_{name}.txt", err)


@pytest.mark.parametrize(
    ("color", "environment", "terminal", "expected"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colour(color: Any, environment: dict[str, str], terminal: bool, expected: bool) -> None:
    class Stream:
        def isatty(self) -> bool:
            return terminal

    stream: Any = Stream()
    assert Settings(color=color).colored(stream, environment) is expected


def test_notes_go_to_stderr_and_obey_quiet_and_verbose(
    register: Callable[..., None], run: Run
) -> None:
    def talk() -> None:
        note("a note")
        logging.getLogger("costsim.planning").info("a detail")

    register(talk)
    assert run("probe") == (0, "", "a note\n")
    code, out, said = run("-v", "probe", "-v")
    assert (code, out) == (0, "")
    assert re.fullmatch(r"a note\n +0\.\d\d s  a detail\n", said)
    assert run("probe", "--quiet") == (0, "", "")
    assert run("probe") == (0, "", "a note\n")


def test_problems_without_a_place_are_errors_too(
    register: Callable[..., None], run: Run, golden: Golden
) -> None:
    def fail() -> None:
        raise InfeasiblePlanError(
            [Problem("no plan fits", hint="2 more nodes would do"), Problem("and too slow")]
        )

    register(fail)
    golden("cli/error_without_place.txt", run("probe")[2])


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="pipes break otherwise here")
def test_a_closed_pipe_is_quiet() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-c", "import sys; from costsim.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*command, "--help"], stdout=write_end, stderr=subprocess.PIPE, check=False
    )
    os.close(write_end)
    assert done.returncode == -signal.SIGPIPE
    assert done.stderr == b""


def test_text_that_the_terminal_lacks_is_replaced() -> None:
    command = [sys.executable, "-c", "import sys; from costsim.cli import main; sys.exit(main())"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*command, "é"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2
    assert "unknown command `?`" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a pseudo-terminal")
def test_a_terminal_is_told_what_takes_long_and_the_line_is_wiped(
    register: Callable[..., None], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        logging.getLogger("costsim.planning").info("searching\x1b[2J")
        note("done")
        logging.getLogger("costsim.planning").info("more")

    register(work)
    monkeypatch.setattr("costsim.cli._console._QUIET_S", -1.0)
    assert run("probe") == (0, "", "done\n")  # no terminal
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    wipe = "\r\x1b[K"
    _, _, said = run("probe", "--color", "never")
    assert (
        said == f"{wipe}0 s  searching\N{REPLACEMENT CHARACTER}[2J{wipe}done\n{wipe}0 s  more{wipe}"
    )
    assert run("probe", "--quiet") == (0, "", "")
