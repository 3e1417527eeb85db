"""Write docs/reference: the command line, scenarios, Python and terms, from what the code says.

python .ci/reference.py            # write
python .ci/reference.py --check    # exit 1 where a page is not what would be written
"""

from __future__ import annotations

import inspect
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import costsim
from costsim.cli import COMMANDS
from costsim.reporting.glossary import TERMS

ROOT = Path(__file__).resolve().parents[1]
NOTE = "Written by `.ci/reference.py` from the code; do not edit."


def command_line() -> str:
    """Return a page with the help of every command."""
    parts = ["# Command line", NOTE]
    for name, says in COMMANDS.items():
        command: click.Command = import_module(f"costsim.cli.{name}").command
        context = click.Context(command, info_name=f"costsim {name}", max_content_width=100)
        parts += [f"## costsim {name}", says, f"```text\n{command.get_help(context).strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def scenario() -> str:
    """Return a page with every key of a scenario, by part."""
    schema = json.loads((ROOT / "docs/schema/scenario.json").read_text(encoding="utf-8"))
    parts = [
        "# Scenario",
        NOTE,
        "Every key that a scenario may have, by part. The JSON Schema is in `docs/schema/`.",
    ]
    for name, part in sorted(schema["$defs"].items()):
        if "properties" not in part:
            continue
        rows = ["| key | what it may be | default | what it says |", "|---|---|---|---|"]
        required = set(part.get("required", ()))
        for key, one in part["properties"].items():
            default = "required" if key in required else _shown(one.get("default"))
            says = " ".join(str(one.get("description", "")).split()).replace("|", "\\|")
            rows.append(f"| `{key}` | {_kind(one)} | {default} | {says} |")
        says = " ".join(str(part.get("description", "")).split())
        parts += [f"## {name}", says, "\n".join(rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _shown(default: Any) -> str:
    return "" if default is None else f"`{json.dumps(default)}`".replace("|", "\\|")


def _kind(one: dict[str, Any]) -> str:
    if "$ref" in one:
        name = one["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    if "const" in one:
        return f"`{one['const']}`"
    if "anyOf" in one:
        found = [_kind(part) for part in one["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(found))
    if one.get("type") == "array" and "items" in one:
        return f"list of {_kind(one['items'])}"
    kinds = one.get("type", "any")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


def python() -> str:
    """Return a page with every public name, its signature and what it says."""
    parts = [
        "# Python",
        NOTE,
        "Every public name of `import costsim`. Names end in their unit; values are SI.",
    ]
    for name in sorted(costsim.__all__):
        if name.startswith("_"):
            continue
        found = getattr(costsim, name)
        signature = str(inspect.signature(found)).replace("'", "")
        parts += [
            f"## costsim.{name}",
            f"```python\n{name}{signature}\n```",
            f"```text\n{inspect.getdoc(found)}\n```",
        ]
    return "\n\n".join(parts) + "\n"


def glossary() -> str:
    """Return a page with the terms that reports spell out."""
    rows = [f"| {term} | {meaning} |" for term, meaning in TERMS.items()]
    return "\n".join(["# Glossary", "", NOTE, "", "| term | meaning |", "|---|---|", *rows]) + "\n"


PAGES = {"cli": command_line, "scenario": scenario, "python": python, "glossary": glossary}


def main() -> int:
    """Write the pages, or say which are not up to date."""
    stale: list[str] = []
    for name, write in PAGES.items():
        path, text = ROOT / f"docs/reference/{name}.md", write()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print("not what the code says: " + ", ".join(stale), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
