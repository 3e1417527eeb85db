"""`costsim models`: the catalog of architectures, and one of them in its parts."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from costsim.cli import _complete
from costsim.cli._notes import say_notes
from costsim.cli._output import choose_format, write_result
from costsim.cli._tables import aligned, to_csv, to_json

if TYPE_CHECKING:
    from costsim.architectures import Architecture

_FORMATS = ("table", "json", "csv")
_WIDTH = 96  # of running text

# column of the list -> its header
_COLUMNS = {
    "name": "NAME",
    "parameters": "PARAMETERS",
    "layers": "LAYERS",
    "forward_flops_per_item": "FLOPS EACH",
    "item": "ITEM",
    "cache_bytes_per_token": "CACHE/TOKEN",
    "context_tokens": "CONTEXT",
}


@click.command()
@click.argument("name", required=False, metavar="[MODEL]", shell_complete=_complete.models)
@click.option("--releases", is_flag=True, help="List published releases known by owner/name.")
@click.option("--format", "asked", type=click.Choice(_FORMATS), help="Default: table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(name: str | None, releases: bool, asked: str | None, output: Path | None) -> None:
    """List the models of the catalog; with MODEL, its totals and its blocks.

    MODEL is a name of the catalog or of a release (owner/name: as the local Hub cache has it, else
    as it ships), the path of a YAML description, of a release's folder or of a file in it
    (config.json, params.json, model_index.json, adapter_config.json, GGUF, …). FLOPs are of a
    forward pass, multiply-add = 2, at 2,048 tokens or the longest the model is made for; the cache
    is in bf16.
    """
    form = choose_format(asked, output, _FORMATS)
    if name and releases:
        raise click.UsageError("--releases lists all; give it or MODEL")
    listed = _list_releases if releases else _list
    write_result(_describe(name, form) if name else listed(form), output)


def _list(form: str) -> str:
    from costsim.resources import data_folder

    folder = data_folder("scenarios") / "models"
    index = folder / "index.json"
    known: dict[str, Any] = json.loads(index.read_text("utf-8")) if index.is_file() else {}
    entries = list(known.values())
    if known.keys() != {path.stem for path in folder.glob("*.yaml")} - {"aliases"}:
        from costsim.architectures import load_model, model_names

        entries = [known.get(name) or entry_of(load_model(name)) for name in model_names()]
    if form == "json":
        return to_json({"models": entries})
    if form == "csv":
        return to_csv(list(entries[0]), [list(entry.values()) for entry in entries])
    rows = [[_shown(column, entry[column]) for column in _COLUMNS] for entry in entries]
    return aligned(list(_COLUMNS.values()), rows, right=range(1, len(_COLUMNS)))


def _list_releases(form: str) -> str:
    from costsim.architectures.releases import releases

    entries = [
        {
            "name": one.name,
            "parameters": one.parameters,
            "model_type": one.config.get("model_type"),
            "quantization": _method(one.config),
            "source": one.source,
        }
        for one in sorted(releases().values(), key=lambda one: one.name.lower())
    ]
    if form == "json":
        return to_json({"releases": entries})
    if form == "csv":
        return to_csv(list(entries[0]), [list(entry.values()) for entry in entries])
    rows = [
        (
            str(entry["name"]),
            _shown("parameters", entry["parameters"]),
            str(entry["model_type"] or ""),
            str(entry["quantization"] or ""),
        )
        for entry in entries
    ]
    return aligned(("NAME", "PARAMETERS", "TYPE", "STORED AS"), rows, right=(1,))


def _method(config: Mapping[str, Any]) -> str | None:
    return config.get("quantization_config", {}).get("quant_method")


def _describe(name: str, form: str) -> str:
    from costsim.architectures import aliases_of, load_model, model_names

    model = load_model(name)
    say_notes(model)
    entry, blocks = entry_of(model), _blocks(model)
    if form == "csv":
        return to_csv(list(blocks[0]), [list(block.values()) for block in blocks])
    known = model.name in model_names() and load_model(model.name) == model
    aliases = aliases_of(model.name) if known else ()
    sizes = _sizes(model.description)
    if form == "json":
        details = {"aliases": aliases, "notes": model.notes, "sizes": sizes, "blocks": blocks}
        return to_json({"model": {**entry, **details}})
    described = ", ".join(
        f"{field} {' or '.join(str(value) for value in values)}" for field, values in sizes.items()
    )
    paragraphs = [f"source: {model.source}", f"sizes: {described}"]
    paragraphs += [f"also: {', '.join(aliases)}"] if aliases else []
    paragraphs += [f"note: {note}" for note in model.notes]
    lines = [model.name, *(line for text in paragraphs for line in textwrap.wrap(text, _WIDTH))]
    totals = [
        (label, _exact(entry[column]), _shown(column, entry[column]))
        for column, label in (
            ("parameters", "parameters"),
            ("active_parameters", "  that one token uses"),
            ("embedding_parameters", "  in look-up tables"),
            ("forward_flops_per_item", f"forward FLOPs a {entry['item']}"),
            ("cache_bytes_per_token", "cache bytes a token, bf16"),
        )
    ]
    header = ("BLOCK", "COUNT", "PARAMETERS", "OF ALL", "FORWARD FLOPS", "OF ALL")
    whole = {key: sum(block[key] for block in blocks) for key in ("parameters", "forward_flops")}
    rows = [
        [block["name"], str(block["count"])]
        + [
            cell
            for key, total in whole.items()
            for cell in (_exact(block[key]), f"{100 * block[key] / total:.1f} %")
        ]
        for block in blocks
    ]
    lines += ["", aligned(("TOTAL", "EXACT", ""), totals, right=(1, 2))]
    lines += ["", aligned(header, rows, right=range(1, len(header)))]
    lines += ["", f"`costsim explain {name} parameters` shows the formula of a total."]
    return "\n".join(lines)


def entry_of(model: Architecture) -> dict[str, Any]:
    """Return the totals of a model, as the list shows them."""
    tokens = _tokens(model)
    items = tokens if model.reads_tokens else 1
    return {
        "name": model.name,
        "parameters": model.parameters,
        "active_parameters": model.active_parameters,
        "embedding_parameters": model.embedding_parameters,
        "layers": model.depth,
        "forward_flops_per_item": model.forward_flops(1, tokens) // items,
        "item": "token" if model.reads_tokens else "sample",
        "cache_bytes_per_token": model.cache_bytes(1, 1),
        "context_tokens": model.context_limit,
        "source": model.source,
    }


def _blocks(model: Architecture) -> list[dict[str, Any]]:
    from costsim.architectures.architecture import forward_flops, parameters
    from costsim.architectures.workload import Workload

    return [
        {
            "name": block.name,
            "count": block.count,
            "parameters": parameters((block,)),
            "forward_flops": forward_flops((block,)),
        }
        for block in model.blocks(Workload(1, _tokens(model)))
    ]


def _tokens(model: Architecture) -> int:
    return min(2048, model.context_limit or 2048)


def _sizes(description: object) -> dict[str, list[int]]:
    """Return the whole numbers of a description by field, with every value that a field takes."""
    from dataclasses import fields, is_dataclass

    found: dict[str, list[int]] = {}

    def collect(node: Any) -> None:
        if isinstance(node, tuple):
            for item in cast("tuple[Any, ...]", node):
                collect(item)
        elif is_dataclass(node):
            for field in fields(node):
                value: Any = getattr(node, field.name)
                if type(value) is not int:
                    collect(value)
                elif value and value not in found.setdefault(field.name, []):
                    found[field.name].append(value)

    collect(description)
    return found


def _shown(column: str, value: Any) -> str:
    from costsim.reporting.formats import format_value

    if column.endswith("parameters"):
        return f"{value / 1e9:.2f} B" if value >= 1e9 else f"{value / 1e6:.1f} M"
    if column.endswith(("_per_token", "_per_item")):
        return format_value(value, "flops" if "flops" in column else "bytes")
    return _exact(value)


def _exact(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else value or ""
