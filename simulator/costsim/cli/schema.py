"""`costsim schema`: the JSON schema of each kind of file that a user writes."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click

from costsim.cli._output import write_result
from costsim.errors import UnknownNameError, suggestion

# kind -> the pydantic model that reads it
KINDS = {
    "scenario": "costsim.planning.scenario:Scenario",
    "serving": "costsim.planning.serving_scenario:ServingScenario",
    "model": "costsim.architectures.spec:ModelSpec",
    "recipe": "costsim.compression.recipes:Recipe",
    "compression": "costsim.planning.compression_scenario:CompressionScenario",
}


@click.command()
@click.argument("kind", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(kind: str | None, output: Path | None) -> None:
    """Print the JSON schema of KIND of file; without KIND, list the kinds.

    An editor with a YAML language server completes and checks a scenario against it.
    """
    kinds = {name: target for name, target in KINDS.items() if find_spec(target.split(":")[0])}
    if kind is None:
        write_result("\n".join(kinds), output)
        return
    if kind not in kinds:
        raise UnknownNameError(
            f"no schema is called `{kind}`", hint=suggestion(kind, kinds, "costsim schema")
        )
    module, name = kinds[kind].split(":")
    schema = getattr(import_module(module), name).model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    write_result(json.dumps(schema, indent=2, ensure_ascii=False), output)
