"""`costsim init`: a commented scenario to start from, or one read from a launch file."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import click

from costsim.cli import _complete
from costsim.cli._console import UsageError, note
from costsim.cli._output import write_result
from costsim.resources import data_folder

KINDS = {
    "training": "train a language model on tokens",
    "fine-tuning": "adapt one",
    "images": "train a net on samples",
    "service": "answer requests, token by token",
    "job": "answer a fixed number of requests",
    "embeddings": "pass samples forward",
}
"""Kinds of starter, each a file of scenarios/starters, and what each is for."""

_MODELINE = "# yaml-language-server: $schema={}\n"


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default="scenario.yaml")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Of workload.  [default: training]")
@click.option(
    "--model", shell_complete=_complete.models, help="In place of the starter's: a name or file."
)
@click.option(
    "--hardware", shell_complete=_complete.hardware, help="In place of the starter's device."
)
@click.option(
    "--schema",
    is_flag=True,
    help="Write scenario.schema.json beside it, by which editors complete and check the file.",
)
@click.option(
    "--from",
    "launch",
    type=click.Path(path_type=Path),
    help="Read it from a launch file: Megatron-LM script, NeMo or Megatron-Bridge recipe, "
    "DeepSpeed JSON, torchtitan TOML, Hugging Face TrainingArguments, `vllm serve` command.",
)
def command(
    path: Path,
    kind: str | None,
    model: str | None,
    hardware: str | None,
    schema: bool,
    launch: Path | None,
) -> None:
    """Write a commented starter scenario to PATH (default: scenario.yaml).

    On a terminal it asks for the kind of workload, the model and the device that no option names.
    """
    if path.exists():
        raise UsageError(f"`{path}` exists already", "name another file, or remove it")
    if launch is not None:
        if kind or model or hardware:
            raise UsageError(
                "a launch file says what runs", "leave out --kind, --model, --hardware"
            )
        _from_launch(launch, path)
    else:
        asks = sys.stdin.isatty() and sys.stdout.isatty() and not (kind or model or hardware)
        if asks:
            for name, words in KINDS.items():
                note(f"{name:12} {words}")
            kind = click.prompt("kind", default="training", type=click.Choice(list(KINDS)))
        text = (data_folder("scenarios") / "starters" / f"{kind or 'training'}.yaml").read_text(
            "utf-8"
        )
        if asks:
            model = click.prompt("model", default=_stated(text, "model"))
            hardware = click.prompt("hardware", default=_stated(text, "system"))
        before = _stated(text, "model"), _stated(text, "system")
        stated = model or before[0], hardware or before[1]
        if stated != before:  # its title speaks of others
            text = re.sub(
                "^name: .*", lambda _: f"name: {json.dumps(' on '.join(stated))}", text, flags=re.M
            )
        text = _changed(_changed(text, "model", model), "system", hardware)
        write_result((_MODELINE.format("scenario.schema.json") if schema else "") + text, path)
    if schema and path != Path("-"):
        from costsim.cli.schema import schema_text

        write_result(schema_text("scenario"), path.parent / "scenario.schema.json")
    if path != Path("-"):
        note(f"`costsim plan {path}` plans it")


def _stated(text: str, key: str) -> str:
    """Return what a starter says under a key."""
    found = re.search(rf"^ *{key}: (\[.*?\]|\S+)", text, re.MULTILINE)
    assert found is not None
    return found[1]


def _changed(text: str, key: str, value: str | None) -> str:
    """Return a starter with another value under a key, quoted where YAML needs it."""
    if value is None:
        return text
    plain = re.fullmatch(r"[\w./+-]+|\[[\w., +-]+\]", value)
    written = value if plain else json.dumps(value)  # a text of JSON is one of YAML
    line = rf"^( *{key}:) (\[.*?\]|\S+)"
    return re.sub(line, lambda found: f"{found[1]} {written}", text, flags=re.MULTILINE)


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
