"""`costsim schema`: the JSON schemas of files that a user writes, and of what is printed."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import click

from costsim.cli._output import write_result
from costsim.errors import UnknownNameError, suggestion
from costsim.resources import packaged_yaml

# kind -> the pydantic model that reads it; of a scenario, one for each kind of workload
KINDS = {
    "scenario": "",
    "sweep": "costsim.sweeps.spec:SweepFiles",
    "model": "costsim.architectures.spec:ModelSpec",
    "recipe": "costsim.compression.recipes:Recipe",
}
PRINTED = ("plan", "fit", "validation")
"""What commands print as JSON; reports/schemas says how."""


@click.command()
@click.argument("kind", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(kind: str | None, output: Path | None) -> None:
    """Print the JSON schema of KIND of file, or of what a command prints; without KIND, list them.

    An editor with a YAML language server completes and checks a scenario against it.
    """
    if kind is None:
        write_result("\n".join((*KINDS, *PRINTED)), output)
        return
    if kind not in (*KINDS, *PRINTED):
        known = (*KINDS, *PRINTED)
        raise UnknownNameError(
            f"no schema is called `{kind}`", hint=suggestion(kind, known, "costsim schema")
        )
    write_result(schema_text(kind), output)


def schema_text(kind: str) -> str:
    """Return the JSON schema of one of `KINDS` or `PRINTED`, as text."""
    if kind == "scenario":
        from costsim.planning.workload import scenario_schema

        schema = scenario_schema()
    elif kind in PRINTED:
        schema = packaged_yaml("reports", f"schemas/{kind}.yaml")
    else:
        module, name = KINDS[kind].split(":")
        schema = getattr(import_module(module), name).model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=2, ensure_ascii=False)
