"""What docs/vision.md shows is true, and what a user writes wrong is told with its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from costsim.architectures import load_model
from costsim.architectures.vision.families import FAMILIES
from costsim.errors import SpecError

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "vision.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def test_python_examples_run() -> None:
    (example,) = _blocks("python")
    exec(example, {})


def test_yaml_examples_are_models(tmp_path: Path) -> None:
    for index, (example, depth) in enumerate(zip(_blocks("yaml"), (33, 16), strict=True)):
        path = tmp_path / f"example{index}.yaml"
        path.write_text(example)
        assert load_model(path).depth == depth


def test_every_family_is_in_the_table() -> None:
    table = GUIDE.partition("| family |")[2].partition("\n\n")[0]
    short = table.replace("`-v2`", "`mobilenet-v2`").replace("`-v3`", "`mobilenet-v3`")
    assert all(f"`{family}`" in short for family in FAMILIES)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("depths: [1, 1]", r"mine.yaml:2:3: missing `family`"),
        ("family: resnett", r"unknown `family` `resnett`(.|\n)*did you mean `resnet`"),
        ("family: resnet\n  depths: [1]", r"`widths` is missing"),
        ("family: vgg\n  depht: [1]", r"mine.yaml:3:3(.|\n)*did you mean `depths`"),
        ("family: vgg\n  depths: [1, 1]", r"make no net"),
        ("family: vgg\n  depths: [1.5, 1, 1, 1, 1]", r"mine.yaml:3:\d+: `depths` is wrong"),
        ("family: vgg\n  depths: [100000, 1, 1, 1, 1]", r"must be from 1 to 10,000"),
        ("family: alexnet\n  classes: -1", r"must be from 0"),
        ("family: alexnet\n  image: [16, 16]", r"too small"),
        ("family: alexnet\nlayers: 2", r"cannot stand beside"),
    ],
)
def test_wrong_fields_are_told(fields: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"vision:\n  {fields}\n")
    with pytest.raises(SpecError, match=message):
        load_model(path)


def test_a_family_cannot_be_extended_by_a_decoders_fields(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: resnet50\nlayers: 2\n")
    with pytest.raises(SpecError, match="under `vision:`"):
        load_model(path)
