"""`costsim init`: a commented scenario to start from, or one read from a launch file."""

from __future__ import annotations

from pathlib import Path

import click

from costsim.cli._console import UsageError, note
from costsim.cli._output import write_result
from costsim.resources import data_folder


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default="scenario.yaml")
@click.option(
    "--from",
    "launch",
    type=click.Path(path_type=Path),
    help="Read it from a launch file: Megatron-LM script, NeMo or Megatron-Bridge recipe, "
    "DeepSpeed JSON, torchtitan TOML, Hugging Face TrainingArguments, `vllm serve` command.",
)
def command(path: Path, launch: Path | None) -> None:
    """Write a commented starter scenario to PATH (default: scenario.yaml)."""
    if path.exists():
        raise UsageError(f"`{path}` exists already", "name another file, or remove it")
    if launch is None:
        write_result((data_folder("scenarios") / "starter.yaml").read_text("utf-8"), path)
    else:
        _from_launch(launch, path)
    if path != Path("-"):
        note(f"`costsim plan {path}` plans it")


def _from_launch(launch: Path, path: Path) -> None:
    """Write the scenario of a launch file; say what it does not say, and what was not used."""
    from costsim.launching import read_launch, to_yaml

    imported = read_launch(launch)
    write_result(to_yaml(imported), path)
    note(
        f"{imported.format}: {len(imported.used)} settings used, {len(imported.unused)} not used "
        "(named at the end of the file)"
    )
    for hint in imported.missing:
        note(f"still to state: {hint}")
