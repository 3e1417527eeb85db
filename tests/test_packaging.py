from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import costsim
from costsim.resources import data_folder

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_version_is_that_of_the_project() -> None:
    assert costsim.__version__ == PROJECT["project"]["version"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'plam'"):
        costsim.plam  # noqa: B018


def test_the_public_names_are_listed() -> None:
    assert set(costsim.__all__) <= set(dir(costsim))


@pytest.mark.parametrize("name", ["hardware_specs", "scenarios", "reports"])
def test_data_folders_are_found_and_travel_in_the_wheel(name: str) -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert data_folder(name) == ROOT / name  # type: ignore[arg-type]
    assert wheel["force-include"][name] == f"costsim/_data/{name}"


def test_every_module_has_its_place_in_the_import_contract() -> None:
    (contract,) = PROJECT["tool"]["importlinter"]["contracts"]
    placed = {name for layer in contract["layers"] for name in re.split(r"\s*:\s*", layer)}
    package = ROOT / "simulator" / "costsim"
    rooms = {path.name for path in package.iterdir() if (path / "__init__.py").exists()}
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert rooms | modules == placed


def test_make_knows_the_commands_of_the_readme() -> None:
    commands = re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands == ["plan", "test"]
    for target in [*commands, "lint"]:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_links_between_documents_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_types_travel_with_the_package() -> None:
    spec = find_spec("costsim")
    assert spec
    assert spec.origin
    assert (Path(spec.origin).parent / "py.typed").exists()
