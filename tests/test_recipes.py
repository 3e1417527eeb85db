"""The recipe for pull requests does what it says, and the image holds what the package needs."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def test_recipe_writes_what_a_pull_request_changes(tmp_path: Path) -> None:
    recipe = yaml.safe_load((ROOT / "docs/recipes/budget-diff.yml").read_text("utf-8"))
    steps = recipe["jobs"]["diff"]["steps"]
    scenario = (ROOT / "scenarios/starters/training.yaml").read_text("utf-8")
    for side, price in (("base", "2.5 $/h"), ("head", "3 $/h")):
        assert any(step.get("with", {}).get("path") == side for step in steps)
        (tmp_path / side).mkdir()
        text = scenario.replace("price: 2.5 $/h", f"price: {price}")
        (tmp_path / side / recipe["env"]["SCENARIO"]).write_text(text, "utf-8")
    (script,) = (step["run"] for step in steps if step.get("name") == "Compare")
    script = script.replace("costsim ", f'"{sys.executable}" -m costsim ')
    subprocess.run(
        ["bash", "-ec", script], cwd=tmp_path, check=True, env={**os.environ, **recipe["env"]}
    )
    assert "$" in (tmp_path / "diff.md").read_text("utf-8")
    (comment,) = (step["run"] for step in steps if step.get("name") == "Comment")
    assert "diff.md" in comment


def test_image_is_given_what_the_package_is_built_of() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    known = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT", "CMD", "#"}
    assert {line.split()[0] for line in lines} <= known
    left_out = set((ROOT / ".dockerignore").read_text("utf-8").split())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["force-include"], *wheel["packages"], *project["project"]["license-files"]}
    assert not left_out & {Path(name).parts[0] for name in needed}
