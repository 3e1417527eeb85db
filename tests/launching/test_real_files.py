"""Launch files that people have published: arguments as facts, each used or named as unused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from costsim.launching import read_launch_text, to_yaml

FILES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "launch_files.json").read_text()
)


def at(scenario: dict[str, Any], path: str) -> Any:
    place: Any = scenario
    for key in path.split("."):
        place = place.get(key) if isinstance(place, dict) else None
    return place


def given_in(one: dict[str, Any]) -> set[str]:
    """The last words of every setting of a file, found without the readers."""
    text = one["text"]
    if one["name"].endswith(".sh"):
        kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        found = set(re.findall(r"(?<![\w-])--([A-Za-z][\w-]*)", "\n".join(kept)))
        hydra = re.findall(r"(?<!\S)(?:training|model|trainer)\.([\w.]+)=", "\n".join(kept))
        return {name.replace("-", "_") for name in (*found, *hydra)}
    if one["name"].endswith(".toml"):
        return set(re.findall(r"^(\w+) = ", text, re.MULTILINE))
    tree = json.loads(text) if one["name"].endswith(".json") else yaml.safe_load(text)

    def leaves(node: Any) -> set[str]:
        found: set[str] = set()
        for key, value in node.items():
            found |= leaves(value) if isinstance(value, dict) and value else {key}
        return found

    return leaves(tree)


@pytest.mark.parametrize("one", FILES, ids=lambda one: one["source"].split("/")[-1][:50])
def test_every_setting_is_used_or_named(one: dict[str, Any]) -> None:
    found = read_launch_text(one["text"], Path(one["name"]))
    assert found.format == one["format"]
    for path, value in one["expect"].items():
        assert at(found.scenario, path) == value, path
    named = found.used.keys() | found.unused.keys()
    last = {name.rpartition(".")[2] for name in named} | named
    for setting in given_in(one):
        assert setting in last or setting.rpartition(".")[2] in last, setting
    assert all(found.unused.values())
    read = yaml.safe_load(to_yaml(found))
    assert read["workload"]["kind"] == found.scenario["workload"]["kind"]
