"""What a shell is offered, and that each written file is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from costsim.architectures import model_names
from costsim.cli import app, main
from costsim.hardware import accelerator_ids


def _offered(*arguments: str) -> list[str]:
    *before, last = arguments
    complete = BashComplete(app, {}, "costsim", "_COSTSIM_COMPLETE")
    return [one.value for one in complete.get_completions(list(before), last)]


def test_names_are_completed() -> None:
    assert {"gpt3", "gpt3-compressed"} <= set(_offered("plan", "gpt"))
    models = [name for name in model_names() if name.startswith("llama-3")]
    assert _offered("plan", "--model", "llama-3") == models
    assert _offered("models", "llama-3") == models
    devices = {name for name in accelerator_ids() if name.startswith("nvidia-h1")}
    for command in (["plan"], ["fit", "gpt2"], ["estimate", "gpt2"]):
        assert devices <= set(_offered(*command, "--hardware", "nvidia-h1"))


@pytest.mark.parametrize(
    "command", [["models", "gpt2"], ["hardware"], ["schema", "scenario"], ["prices"]]
)
def test_a_written_file_is_named(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "answer.json"
    assert main([*command, "-o", str(path)]) == 0
    assert capsys.readouterr().err.count(f"wrote {path}") == 1
    assert main([*command, "-o", str(path), "-q"]) == 0
    assert capsys.readouterr().err == ""
